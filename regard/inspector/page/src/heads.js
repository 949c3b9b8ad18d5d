// All heads of a layer side by side, with what they do on the whole.
import { h, number, short } from "./dom.js";
import { cellsOf, image } from "./matrix.js";

const MEANT = {
  entropy: "how spread the weights are, in nats: 0 is one key",
  distance: "mean distance of what is attended to",
  first: "share of the weights on the first key",
  self: "share on the query's own place",
  previous: "share on the place before",
};

/**
 * @param {import("./wire.js").Answer} answer
 * @param {{layer: number, chosen: number, ask: import("./wire.js").Ask, onchoose: (head: number) => void}} options
 */
export function heads({ content }, { layer, chosen, ask, onchoose }) {
  const grid = h("div", { class: "heads" });
  const numbers = /** @type {(keyof typeof MEANT)[]} */ (Object.keys(MEANT).filter((name) => name in content));
  const rows = content.entropy.map((/** @type {number} */ _, /** @type {number} */ n) => {
    const picture = h("button", { "aria-pressed": n === chosen, "aria-label": `head ${n}`, onclick: () => onchoose(n) }, `head ${n}`);
    grid.append(picture);
    ask({ ask: "matrix", layer, head: n }).then((answer) => {
      const small = image(cellsOf(answer));
      small.className = "thumb";
      picture.prepend(small);
    }, () => undefined);
    return h("tr", {}, h("td", {}, `head ${n}`), ...numbers.map((name) => h("td", { title: number(content[name][n]) }, short(content[name][n]))));
  });
  return [
    grid,
    h("div", { class: "scroll" }, h("table", { class: "numbers" },
      h("thead", {}, h("tr", {}, h("th", {}, ""), ...numbers.map((name) => h("th", { title: MEANT[name] }, name)))), h("tbody", {}, ...rows))),
    h("p", { class: "soft" }, `means over ${content.rows} queries${content.rows < content.queries ? `, evenly spaced among ${content.queries}` : ""}. `
      + numbers.map((name) => `${name}: ${MEANT[name]}${name === "distance" ? ` in ${content.unit}` : ""}`).join("; ")),
  ];
}
