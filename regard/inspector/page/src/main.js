// The page, in the form of an AFM widget: `export default { render }`.
import { h } from "./dom.js";
import { cellsOf, legend, matrix, told } from "./matrix.js";
import { predictionBox } from "./prediction.js";
import { STYLE } from "./style.js";
import { connect } from "./wire.js";

/** @typedef {{layer: number, head: number, query: number, rows?: number[], keys?: number[]}} State */

const SPAN = 256;

class Page {
  /** @param {HTMLElement} root @param {import("./wire.js").Ask} ask @param {any} overview */
  constructor(root, ask, overview) {
    this.ask = ask;
    this.overview = overview;
    /** @type {State} */
    this.state = { layer: 0, head: 0, query: 0 };
    this.turn = 0;
    this.main = h("div", { class: "main" });
    this.layers = h("select", { "aria-label": "layer", onchange: () => this.set({ layer: Number(this.layers.value), head: 0, query: 0 }) });
    this.heads = h("select", { "aria-label": "head", onchange: () => this.set({ head: Number(this.heads.value) }) });
    overview.layers.forEach((/** @type {any} */ layer, /** @type {number} */ n) =>
      this.layers.append(h("option", { value: n }, `${n}: ${layer.kind} ${layer.module.replace(/^(model|task)\./, "")}`)));
    root.append(
      h("h1", {}, `${overview.run}: ${overview.input}`),
      h("p", { class: "soft" }, "Who attends to whom. A weight says how much of a vector is taken up, not why an answer was given: what becomes of the answer without it is another question."),
      h("div", { class: "bar" }, h("label", {}, "layer", this.layers), h("label", {}, "head", this.heads)),
      h("div", { class: "columns" }, this.main, h("div", { class: "side" }, h("h2", {}, "What is predicted"), predictionBox(overview.prediction))));
    this.set({});
  }

  get layer() {
    return this.overview.layers[this.state.layer];
  }

  /** What queries and keys of the layer are called. */
  get names() {
    const { axes } = this.overview;
    return { queries: axes[this.layer.queries].names, keys: axes[this.layer.keys].names };
  }

  /** @param {Partial<State>} change */
  set(change) {
    if ("layer" in change) delete this.state.rows, delete this.state.keys;
    Object.assign(this.state, change);
    this.layers.value = String(this.state.layer);
    this.heads.replaceChildren(...Array.from({ length: this.layer.heads }, (_, n) => h("option", { value: n }, n)));
    this.heads.value = String(this.state.head);
    this.show();
  }

  async show() {
    const turn = ++this.turn;
    const { layer, head, rows, keys } = this.state;
    try {
      const answer = await this.ask({ ask: "matrix", layer, head, ...(rows ? { rows } : {}), ...(keys ? { keys } : {}) });
      if (turn === this.turn) this.main.replaceChildren(...this.matrix(cellsOf(answer)));
    } catch (error) {
      if (turn === this.turn) this.main.replaceChildren(h("p", { class: "bad", role: "alert" }, error instanceof Error ? error.message : String(error)));
    }
  }

  /** @param {import("./matrix.js").Cells} cells */
  matrix(cells) {
    const { names } = this;
    const read = h("div", { class: "read", "aria-live": "polite" }, "Point at a cell, or move with the arrow keys.");
    const onpoint = (/** @type {number} */ row, /** @type {number} */ column) => read.replaceChildren(told(cells, names, row, column));
    const onchoose = (/** @type {number} */ row, /** @type {number} */ column) => {
      const places = [cells.rows[0] + row * cells.step[0], cells.keys[0] + column * cells.step[1]];
      if (Math.max(...cells.step) > 1) this.set({ rows: around(places[0], names.queries.length), keys: around(places[1], names.keys.length) });
      else this.set({ query: places[0] });
    };
    const whole = cells.shape[0] * cells.step[0] >= names.queries.length && cells.shape[1] * cells.step[1] >= names.keys.length;
    return [
      h("p", {}, this.layer.attention, whole ? null : h("button", { onclick: () => this.set({ rows: undefined, keys: undefined }) }, "show all")),
      h("p", { class: "soft" }, "queries down, keys across"),
      legend(cells), read,
      h("div", { class: "scroll" }, matrix(cells, names, { onpoint, onchoose, chosen: this.state.query })),
    ];
  }
}

/** @param {number} place @param {number} count */
function around(place, count) {
  const first = Math.max(0, Math.min(place - SPAN / 2, count - SPAN));
  return [first, Math.min(count, first + SPAN)];
}

/** @param {{model: any, el: HTMLElement}} host */
function render({ model, el }) {
  const root = el.shadowRoot ?? el.attachShadow({ mode: "open" });
  const page = h("div", { class: "page" }, h("p", { class: "soft" }, "computing …"));
  root.replaceChildren(h("style", {}, STYLE), page);
  const { ask, close } = connect(model);
  ask({ ask: "overview" }).then(
    ({ content }) => {
      page.replaceChildren();
      new Page(page, ask, content);
      page.dataset.ready = "true";
    },
    (error) => page.replaceChildren(h("p", { class: "bad", role: "alert" }, error.message)),
  );
  return close;
}

export default { render };
