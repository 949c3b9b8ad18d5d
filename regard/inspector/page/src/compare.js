// Two heads side by side, and their difference.
import { h } from "./dom.js";
import { legend, matrix, told } from "./matrix.js";

/** @typedef {import("./matrix.js").Cells} Cells */

/** @typedef {{queries: string[], keys: string[]}} Names */

/**
 * @param {Cells} a @param {Cells} b @param {Names} names of a @param {Names} theirs of b, which may be of another input
 * @param {{first: string, second: string, chooser: HTMLElement}} options
 */
export function sideBySide(a, b, names, theirs, { first, second, chooser }) {
  const read = h("div", { class: "read", "aria-live": "polite" }, "Point at a cell of either.");
  const alike = a.shape.join() === b.shape.join();
  /** @type {Cells} */
  const difference = { ...a, least: undefined, most: undefined, values: alike ? a.values.map((x, n) => (x === -Infinity && b.values[n] === -Infinity ? -Infinity : seen(b.values[n]) - seen(x))) : a.values };
  const both = (/** @type {number} */ row, /** @type {number} */ column) => {
    const n = row * a.shape[1] + column;
    read.replaceChildren(
      h("div", {}, `${first}: `, told(a, names, row, column)), h("div", {}, `${second}: `, told(b, theirs, row, column)),
      h("div", { "data-difference": difference.values[n] }, `difference ${difference.values[n] === -Infinity ? "none: hidden in both" : seen(difference.values[n]).toPrecision(4)}`));
  };
  const alone = (/** @type {string} */ title, /** @type {Cells} */ cells, /** @type {Names} */ named) => (/** @type {number} */ row, /** @type {number} */ column) =>
    read.replaceChildren(h("div", {}, `${title}: `, told(cells, named, row, column)));
  /** @param {string} title @param {Cells} cells @param {Names} named @param {boolean} [signed] */
  const one = (title, cells, named, signed = false) => h("div", { class: "third" }, h("h2", {}, title), legend(cells, signed),
    h("div", { class: "scroll" }, matrix(cells, named, { onpoint: alike ? both : alone(title, cells, named), both: signed, small: true })));
  return [h("div", { class: "bar" }, chooser), read, h("div", { class: "columns" }, one(first, a, names), one(second, b, theirs),
    alike ? one(`${second} minus ${first}`, difference, names, true) : h("p", { class: "soft" }, "no difference: they have different numbers of queries or keys"))];
}

/** @param {number} x */
function seen(x) {
  return x === -Infinity ? 0 : x;
}
