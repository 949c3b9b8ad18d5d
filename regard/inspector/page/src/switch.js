// The experiment: what is predicted when heads, keys or pairs are switched off.
import { h, number } from "./dom.js";
import { predictionBox } from "./prediction.js";

/** @typedef {{layer?: number, head?: number, query?: number, key?: number}} Off */

/**
 * @param {{off: Off[], named: (off: Off) => string, before: any, layer: number, head: number, heads: number, names: {queries: string[], keys: string[]},
 *   query: number, ask: import("./wire.js").Ask, onchange: (off: Off[]) => void}} options
 */
export function switching({ off, named, before, layer, head, names, query, ask, onchange }) {
  const keys = h("select", { "aria-label": "key" }, ...names.keys.map((name, n) => h("option", { value: n }, `${n}: ${name}`)));
  /** @param {Off} more */
  const add = (more) => onchange([...off, more]);
  const result = h("div", { class: "columns" });
  if (off.length) {
    result.append(h("p", { class: "soft" }, "computing …"));
    ask({ ask: "switched", off }).then(
      ({ content }) => result.replaceChildren(
        h("div", { class: "side" }, h("h2", {}, "with everything"), predictionBox(before)),
        h("div", { class: "side", "data-switched": true }, h("h2", {}, "without"), predictionBox(content.prediction), h("p", { class: "soft" }, changed(before, content.prediction)))),
      (error) => result.replaceChildren(h("p", { class: "bad", role: "alert" }, error.message)));
  }
  return [
    h("p", {}, "A weight alone does not say what an answer rests on. Switch off a head, a key or a pair, and see what is predicted without it: the weights of the other keys are normalized anew."),
    h("div", { class: "bar" },
      h("button", { onclick: () => add({ layer, head }) }, `head ${head} of layer ${layer}`),
      h("button", { onclick: () => add({ layer }) }, `all heads of layer ${layer}`)),
    h("div", { class: "bar" }, h("label", {}, "key", keys),
      h("button", { onclick: () => add({ layer, head, query, key: Number(keys.value) }) }, `hide it from “${names.queries[query]}” in this head`),
      h("button", { onclick: () => add({ layer, key: Number(keys.value) }) }, "hide it in this layer"),
      h("button", { onclick: () => add({ key: Number(keys.value) }) }, "hide it in all layers")),
    off.length ? h("p", {}, h("button", { onclick: () => onchange([]) }, "switch everything on")) : null,
    h("ul", {}, ...off.map((one, n) => h("li", {}, `without ${named(one)} `, h("button", { "aria-label": "switch on again", onclick: () => onchange(off.filter((_, m) => m !== n)) }, "×")))),
    result,
  ];
}

/** @param {any} before @param {any} after */
function changed(before, after) {
  const [a, b] = [before.probabilities, after.probabilities];
  if (!a || !b) return "";
  const names = Object.keys(a).filter((name) => name in b);
  const most = names.reduce((best, name) => (Math.abs(b[name] - a[name]) > Math.abs(b[best] - a[best]) ? name : best), names[0]);
  return most === undefined ? "" : `“${most}” changes by ${number(b[most] - a[most])}`;
}
