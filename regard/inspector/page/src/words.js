// Word vectors: the nearest words, analogies, and words on a plane.
import { cut, h, number, s } from "./dom.js";
import { saver } from "./save.js";

const [WIDTH, HEIGHT, EDGE] = [640, 440, 50];

/** @param {HTMLElement} root @param {import("./wire.js").Ask} ask @param {any} overview @param {boolean} offline */
export function words(root, ask, overview, offline) {
  const main = h("div", { class: "main" });
  const side = h("div", { class: "side" });
  const given = h("input", { "aria-label": "word", value: overview.chosen[0], list: "chosen" });
  const letters = ["a", "b", "c"].map((letter) => h("input", { "aria-label": letter, size: 10 }));
  const answer = h("div", { class: "analogy" });
  let turn = 0;

  /** @param {{near: [string, number][]}} content */
  const table = (content) => h("table", {}, h("tbody", {}, ...content.near.map(([word, cosine]) =>
    h("tr", {}, h("td", {}, h("button", { onclick: () => choose(word) }, cut(word, 30))), h("td", { "data-word": word, "data-cosine": cosine, title: number(cosine) }, cosine.toFixed(3))))));

  /** @param {string} word */
  async function choose(word) {
    const mine = ++turn;
    given.value = word;
    main.setAttribute("aria-busy", "true");
    try {
      const { content } = await ask({ ask: "nearest", word });
      const placed = await ask({ ask: "plane", words: [content.word, ...content.near.map((/** @type {[string, number]} */ [name]) => name)] });
      if (mine !== turn) return;
      main.replaceChildren(h("p", { class: "soft" }, "the word and those nearest to it, on their two principal axes; a click on a word goes there"), plane(placed, content.word));
      side.replaceChildren(h("h2", {}, `nearest to “${content.word}”`), h("p", { class: "soft" }, "cosine of the vectors"), table(content));
    } catch (error) {
      if (mine === turn) main.replaceChildren(h("p", { class: "bad", role: "alert" }, error instanceof Error ? error.message : String(error)));
    }
    if (mine === turn) main.setAttribute("aria-busy", "false");
  }

  /** @param {import("./wire.js").Answer} placed @param {string} chosen */
  function plane({ content, floats }, chosen) {
    const picture = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, style: "width:100%;max-width:900px", role: "img", "aria-label": "words on a plane" });
    const xs = floats[0].filter((_, n) => n % 2 === 0);
    const ys = floats[0].filter((_, n) => n % 2 === 1);
    /** @param {Float32Array} all @param {number} x @param {number} size */
    const scaled = (all, x, size) => EDGE + ((x - Math.min(...all)) / (Math.max(...all) - Math.min(...all) || 1)) * (size - (size === WIDTH ? 3 : 2) * EDGE);
    content.words.forEach((/** @type {string} */ word, /** @type {number} */ n) => {
      const [x, y] = [scaled(xs, xs[n], WIDTH), HEIGHT - scaled(ys, ys[n], HEIGHT)];
      const mine = word === chosen;
      picture.append(s("circle", { cx: x, cy: y, r: mine ? 6 : 4, fill: mine ? "#e66100" : "#1f6fb2" }),
        s("text", { x: x + 8, y: y + 4, tabindex: 0, role: "button", style: "cursor:pointer", "font-weight": mine ? 700 : 400, "data-x": xs[n], "data-y": ys[n],
          onclick: () => choose(word), onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Enter" && choose(word) }, cut(word, 20)));
    });
    return picture;
  }

  async function analogy() {
    const [a, b, c] = letters.map((letter) => letter.value.trim());
    try {
      const { content } = await ask({ ask: "analogy", a, b, c });
      answer.replaceChildren(table(content));
    } catch (error) {
      answer.replaceChildren(h("p", { class: "bad", role: "alert" }, error instanceof Error ? error.message : String(error)));
    }
  }

  const enter = (/** @type {() => void} */ act) => (/** @type {KeyboardEvent} */ event) => event.key === "Enter" && act();
  given.addEventListener("keydown", enter(() => choose(given.value.trim())));
  letters.forEach((letter) => letter.addEventListener("keydown", enter(analogy)));
  root.append(
    h("h1", {}, `${overview.run}: ${overview.input}`),
    h("div", { class: "bar" }, h("label", {}, "word", given), h("button", { onclick: () => choose(given.value.trim()) }, "show"), offline ? null : saver(ask, () => ({ view: "words", words: [given.value.trim()] })),
      h("datalist", { id: "chosen" }, ...overview.chosen.map((/** @type {string} */ word) => h("option", { value: word })))),
    h("div", { class: "columns" }, main, side),
    h("h2", {}, "Analogies"),
    h("div", { class: "bar" }, letters[1], "is to", letters[0], "as ? is to", letters[2], h("button", { onclick: analogy }, "find")), answer);
  return choose(overview.chosen[0]);
}
