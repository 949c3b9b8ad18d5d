// One output vector of one head, step by step, with the numbers of the model.
import { css } from "./color.js";
import { h, number, short } from "./dom.js";

const MOST = 60; // keys that are listed, the heaviest first
const WIDE = 8; // numbers of a vector that are written

/** @param {Float32Array} x */
function vector(x) {
  const shown = Array.from(x.slice(0, WIDE), (n) => short(n)).join(", ");
  return h("code", { title: Array.from(x, number).join(", ") }, `[${shown}${x.length > WIDE ? `, … ${x.length} numbers` : ""}]`);
}

/** @param {Float32Array} x */
function size(x) {
  return Math.hypot(...x);
}

/** @param {Float32Array} a @param {Float32Array} b */
function apart(a, b) {
  return a.reduce((most, x, n) => Math.max(most, Math.abs(x - b[n])), 0);
}

/** A strip of colors, one for each number. @param {Float32Array} x */
function strip(x) {
  const most = x.reduce((top, n) => Math.max(top, Math.abs(n)), 0) || 1;
  const box = h("span", { class: "strip", "aria-hidden": "true" });
  for (const n of x.slice(0, 64)) box.append(h("i", { style: `background:${css((n / most + 1) / 2, true)}` }));
  return box;
}

/** @param {string} title @param {import("./dom.js").Child[]} children */
function part(title, ...children) {
  return h("section", {}, h("h2", {}, title), ...children);
}

/** @param {string} what @param {Float32Array} ours @param {Float32Array} theirs */
function check(what, ours, theirs) {
  const most = apart(ours, theirs);
  const good = most <= 1e-4 * Math.max(1, size(theirs));
  return h("p", { class: good ? "good" : "bad", "data-apart": most }, `${good ? "✓" : "✗"} ${what}: no number is further apart than ${number(most)}`);
}

/**
 * @param {import("./wire.js").Answer} answer
 * @param {{queries: string[], keys: string[]}} names
 * @param {{query: number, head: number, heads: number}} place
 */
export function steps({ content, floats }, names, place) {
  const [q, product, bias, weight, out, modelOut, ks, vs, ...more] = floats;
  const n = content.keys.length;
  const [d, e] = [q.length, out.length];
  const query = names.queries[place.query];
  const order = Array.from({ length: n }, (_, j) => j).sort((a, b) => weight[b] - weight[a]);
  const biased = bias.some((x) => x !== 0);
  const score = Array.from(product, (x, j) => content.scale * x + (bias[j] ?? 0));
  const rows = order.slice(0, MOST).map((j) => {
    const k = ks.subarray(j * d, (j + 1) * d);
    const v = vs.subarray(j * e, (j + 1) * e);
    return h("tr", {},
      h("td", { title: names.keys[content.keys[j]] }, names.keys[content.keys[j]]),
      h("td", {}, strip(k)), h("td", { title: number(product[j]) }, short(product[j])),
      biased ? h("td", { title: number(bias[j]) }, short(bias[j])) : null,
      h("td", { title: number(score[j]), "data-score": score[j] }, short(score[j])),
      h("td", { title: number(weight[j]), "data-weight": weight[j] }, h("b", {}, short(weight[j]))),
      h("td", {}, strip(v)), h("td", {}, strip(v.map((x) => x * weight[j]))));
  });
  const total = weight.reduce((sum, x) => sum + x, 0);
  const sections = [
    part(`1. The query q of “${query}”`, h("p", {}, strip(q), " ", vector(q)), h("p", { class: "soft" }, `head ${place.head} of ${place.heads}; ${content.turned ? "turned by its position, as the keys are" : "the keys below are made in the same way"}`)),
    part(`2. Scores and weights of the ${n} keys that the pattern allows${content.hidden ? `; it hides ${content.hidden}` : ""}`,
      h("p", { class: "soft" }, content.formula),
      h("div", { class: "scroll" }, h("table", {},
        h("thead", {}, h("tr", {}, ...["key", "k", content.product, ...(biased ? [content.bias] : []), content.scale === 1 ? "score" : `score = ${short(content.scale)} × ${content.product}${biased ? " + bias" : ""}`, `weight`, "v", "weight × v"].map((name) => h("th", {}, name)))),
        h("tbody", {}, ...rows))),
      n > MOST ? h("p", { class: "soft" }, `the ${MOST} heaviest of ${n} keys`) : null,
      h("p", {}, `the weights sum to ${number(total)} (${content.normalizer})`)),
    part("3. The sum of weight × v", h("p", {}, strip(out), " ", vector(out)), check("the model's own output of this head", out, modelOut)),
  ];
  if (more.length >= 4) {
    const [own, gives, together, reads] = more;
    const others = together.map((x, c) => x - own[c]);
    sections.push(part("4. W^O: from all heads to one vector",
      h("p", {}, `this head adds `, strip(own), ` of length ${short(size(own))}, the other heads and the bias ${short(size(others))}`),
      h("p", {}, "together ", strip(gives), " ", vector(gives)),
      check("the model's own output of the layer", together, gives),
      h("p", { class: "soft" }, "made of the vector ", strip(reads), ` of length ${short(size(reads))}`)));
  }
  if (more.length >= 6) {
    const [, gives, , , before, after] = more;
    sections.push(part("5. The residual: what the vector was, and what is added",
      h("p", {}, strip(before), ` of length ${short(size(before))}, plus `, strip(gives), ` of length ${short(size(gives))}, is `, strip(after), " ", vector(after)),
      check("the model's own stream", before.map((x, c) => x + gives[c]), after),
      content.norm ? h("p", { class: "soft" }, "a layer norm follows") : null));
  }
  return sections;
}
