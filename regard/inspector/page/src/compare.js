// Two heads side by side, and their difference.
import { h } from "./dom.js";
import { legend, matrix, told } from "./matrix.js";

/** @typedef {import("./matrix.js").Cells} Cells */

/**
 * @param {Cells} a @param {Cells} b
 * @param {{queries: string[], keys: string[]}} names
 * @param {{first: string, second: string, chooser: HTMLElement}} options
 */
export function sideBySide(a, b, names, { first, second, chooser }) {
  const read = h("div", { class: "read", "aria-live": "polite" }, "Point at a cell of either.");
  /** @type {Cells} */
  const difference = { ...a, least: undefined, most: undefined, values: a.values.map((x, n) => (x === -Infinity && b.values[n] === -Infinity ? -Infinity : seen(b.values[n]) - seen(x))) };
  const onpoint = (/** @type {number} */ row, /** @type {number} */ column) => {
    const n = row * a.shape[1] + column;
    read.replaceChildren(
      h("div", {}, `${first}: `, told(a, names, row, column)), h("div", {}, `${second}: `, told(b, names, row, column)),
      h("div", { "data-difference": difference.values[n] }, `difference ${difference.values[n] === -Infinity ? "none: hidden in both" : seen(difference.values[n]).toPrecision(4)}`));
  };
  /** @param {string} title @param {Cells} cells @param {boolean} [both] */
  const one = (title, cells, both = false) => h("div", { class: "third" }, h("h2", {}, title), legend(cells, both),
    h("div", { class: "scroll" }, matrix(cells, names, { onpoint, both, small: true })));
  return [h("div", { class: "bar" }, chooser), read, h("div", { class: "columns" }, one(first, a), one(second, b), one(`${second} minus ${first}`, difference, true))];
}

/** @param {number} x */
function seen(x) {
  return x === -Infinity ? 0 : x;
}
