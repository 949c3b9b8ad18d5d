// Colors of weights: one hue whose lightness alone tells the number, so that every eye reads it, on light and on dark.

/** @typedef {[number, number, number]} Color */

/** @type {Color[]} */
const LIGHT = [[247, 249, 252], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]];
/** @type {Color[]} */
const DARK = [[24, 28, 36], [12, 59, 112], [36, 113, 178], [112, 178, 226], [226, 240, 252]];
/** Less is orange, more is blue. @type {Color[]} */
const BOTH_LIGHT = [[179, 88, 6], [241, 163, 64], [247, 247, 247], [103, 169, 207], [5, 80, 140]];
/** @type {Color[]} */
const BOTH_DARK = [[255, 186, 102], [170, 92, 14], [24, 28, 36], [26, 100, 166], [140, 200, 245]];

export function dark() {
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** @param {Color[]} stops @param {number} share from 0 to 1 @returns {Color} */
function between(stops, share) {
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const n = Math.min(Math.floor(place), stops.length - 2);
  const part = place - n;
  const mixed = stops[n].map((a, c) => Math.round(a + (stops[n + 1][c] - a) * part));
  return [mixed[0], mixed[1], mixed[2]];
}

/** 256 colors for shares from 0 to 1. @param {boolean} both whether there is less and more @returns {Color[]} */
export function palette(both = false) {
  const stops = both ? (dark() ? BOTH_DARK : BOTH_LIGHT) : dark() ? DARK : LIGHT;
  return Array.from({ length: 256 }, (_, n) => between(stops, n / 255));
}

/** @param {number} share @param {boolean} [both] */
export function css(share, both = false) {
  const stops = both ? (dark() ? BOTH_DARK : BOTH_LIGHT) : dark() ? DARK : LIGHT;
  return `rgb(${between(stops, share).join(",")})`;
}

/** Of what no pattern allows, and of what is no number. */
export function hidden() {
  return dark() ? { back: "#2a2a2e", line: "#55555c" } : { back: "#ececee", line: "#b4b4bc" };
}
export const SPOILED = "#d4007a";
