// The page, in the form of an AFM widget: `export default { render }`.
import { sideBySide } from "./compare.js";
import { h } from "./dom.js";
import { heads } from "./heads.js";
import { lines } from "./lines.js";
import { maps } from "./maps.js";
import { inPlace } from "./place.js";
import { cellsOf, legend, matrix, told } from "./matrix.js";
import { predictionBox } from "./prediction.js";
import { saver } from "./save.js";
import { steps } from "./step.js";
import { STYLE } from "./style.js";
import { switching } from "./switch.js";
import { connect } from "./wire.js";
import { words } from "./words.js";

/**
 * @typedef {object} State
 * @property {string} view
 * @property {number} layer
 * @property {number} head
 * @property {number} query
 * @property {number | null} line the query whose lines alone are shown
 * @property {[number, number, number]} other the layer and head beside, and whether they are of what stands beside the run
 * @property {import("./switch.js").Off[]} off
 * @property {"matrix" | "rollout" | "gradient"} what the matrix is of
 * @property {number[]} [rows] of the matrix that is looked at closely
 * @property {number[]} [keys]
 */

const SPAN = 256;
const WHAT = { matrix: "weights", rollout: "rollout from the first layer to this one", gradient: "weight × gradient of what is predicted" };
const WARNINGS = {
  matrix: "",
  rollout: "Rollout multiplies the mean weights of all layers, half of them staying where they are. It takes a layer for a mean and forgets projections, values and feed-forward networks: a hint, not an explanation.",
  gradient: "To first order, what the score of the prediction loses where a weight becomes 0 and the others stay: a hint from one point. Switch off heads and keys to see what does happen.",
};
const VIEWS = { place: "In place", matrix: "Matrix", lines: "Lines", heads: "All heads", step: "One vector", compare: "Side by side", switch: "Switch off" };

/** Pages that are not of a run and an input. @type {Record<string, (root: HTMLElement, ask: import("./wire.js").Ask, overview: any, offline: boolean) => Promise<void>>} */
const PAGES = { maps, words };

class Page {
  /** @param {HTMLElement} root @param {import("./wire.js").Ask} ask @param {any} overview @param {import("./wire.js").Answer} place @param {boolean} offline @param {boolean[]} held which layers there are answers for */
  constructor(root, ask, overview, place, offline, held) {
    this.held = held;
    this.ask = ask;
    this.overview = overview;
    this.place = place;
    this.offline = offline;
    const placed = place.content.kind !== "none";
    /** @type {State} */
    this.state = { view: placed ? "place" : "matrix", layer: Math.max(0, held.indexOf(true)), head: 0, query: 0, line: null, other: [0, 0, overview.beside ? 1 : 0], off: [], what: "matrix" };
    this.state.query = this.first(this.state.layer);
    /** What stands beside, as it was shown last. @type {any[]} */
    this.other = [];
    this.turn = 0;
    this.main = h("div", { class: "main", role: "tabpanel" });
    this.layers = this.layerSelect("layer", (layer) => this.set({ layer, head: Math.min(this.state.head, overview.layers[layer].heads - 1), query: this.first(layer), line: null }));
    this.heads = h("select", { "aria-label": "head", onchange: () => this.set({ head: Number(this.heads.value) }) });
    this.queries = h("select", { "aria-label": "query", onchange: () => this.set({ query: Number(this.queries.value) }) });
    this.tabs = h("div", { class: "bar", role: "tablist" });
    this.chosen = h("label", {}, "query", this.queries);
    for (const [view, title] of Object.entries(VIEWS))
      if (!(view === "switch" && (offline || overview.plan)) && !(view === "place" && !placed)) this.tabs.append(h("button", { role: "tab", "data-view": view, onclick: () => this.set({ view }) }, title));
    if (!offline) this.tabs.append(saver(ask, () => this.drawn()));
    this.beside = overview.plan
      ? h("div", { class: "side" }, h("h2", {}, "What it costs"), h("pre", {}, overview.plan))
      : h("div", { class: "side" }, h("h2", {}, "What is predicted"), predictionBox(overview.prediction));
    root.append(
      h("h1", {}, `${overview.run}: ${overview.input}`),
      overview.plan ? h("p", { class: "soft" }, overview.zeros ? "Who may attend to whom: the weights where all vectors are zeros, which the pattern and the bias alone decide." : "Who attends to whom: the weights of the vectors that were given.") : h("p", { class: "soft" }, "Who attends to whom. A weight says how much of a vector is taken up, not why an answer was given. ",
        offline ? "What becomes of the answer without it, `regard inspect` with the run can show." : h("button", { onclick: () => this.set({ view: "switch" }) }, "What becomes of the answer without it?")),
      h("div", { class: "bar" }, h("label", {}, "layer", this.layers), h("label", {}, "head", this.heads), this.chosen),
      this.tabs, h("div", { class: "columns" }, this.main, this.beside));
    this.set({});
  }

  /** What Python is asked to draw: the view, and what is chosen in it. */
  drawn() {
    const { view, what, layer, head, query, off } = this.state;
    const chosen = view === "compare" ? { other: this.other } : view === "switch" && off.length ? { off } : {};
    return { view: view === "matrix" ? what : view, layer, head, query, ...chosen };
  }

  /** @param {string} label @param {(layer: number) => void} onchange */
  layerSelect(label, onchange) {
    const found = h("select", { "aria-label": label });
    found.addEventListener("change", () => onchange(Number(found.value)));
    this.overview.layers.forEach((/** @type {any} */ layer, /** @type {number} */ n) =>
      found.append(h("option", { value: n, disabled: !this.held[n] }, layer.title)));
    return found;
  }

  /** The query that a layer is shown with first: that of the surest box, where each query has one. @param {number} layer */
  first(layer) {
    const boxes = this.place.content.boxes ?? [];
    return boxes.length && this.overview.axes[this.overview.layers[layer].queries].names.length === boxes.length ? boxes[0].query : 0;
  }

  get layer() {
    return this.overview.layers[this.state.layer];
  }

  /** What queries and keys of a layer are called. @param {any} [layer] @param {any} [axes] @returns {{queries: string[], keys: string[]}} */
  names(layer = this.layer, axes = this.overview.axes) {
    return { queries: axes[layer.queries].names, keys: axes[layer.keys].names };
  }

  /** @param {Partial<State>} change */
  set(change) {
    if ("layer" in change) delete this.state.rows, delete this.state.keys;
    Object.assign(this.state, change);
    const { state } = this;
    this.layers.value = String(state.layer);
    this.heads.replaceChildren(...Array.from({ length: this.layer.heads }, (_, n) => h("option", { value: n }, n)));
    this.heads.value = String(state.head);
    this.queries.replaceChildren(...this.names().queries.slice(0, 5000).map((name, n) => h("option", { value: n }, `${n}: ${name.slice(0, 40)}`)));
    this.queries.value = String(state.query);
    this.chosen.hidden = !["step", "switch", "place"].includes(state.view) && !(state.view === "matrix" && state.what === "gradient");
    this.beside.hidden = state.view === "switch";
    for (const tab of this.tabs.querySelectorAll("[role=tab]")) tab.setAttribute("aria-selected", String(tab instanceof HTMLElement && tab.dataset.view === state.view));
    this.show();
  }

  async show() {
    const turn = ++this.turn;
    this.main.setAttribute("aria-busy", "true");
    try {
      const found = await this.view();
      if (turn !== this.turn) return;
      this.main.replaceChildren(...found.filter((each) => each != null));
    } catch (error) {
      if (turn === this.turn) this.main.replaceChildren(alert(error));
    }
    this.main.setAttribute("aria-busy", "false");
  }

  /** @returns {Promise<(Node | null)[]>} */
  async view() {
    const { view, layer, head, query, line, off } = this.state;
    const names = this.names();
    const { ask } = this;
    if (view === "heads")
      return heads(await ask({ ask: "heads", layer }), { layer, chosen: head, ask, onchoose: (chosen) => this.set({ head: chosen, view: "matrix" }) });
    if (view === "step") return steps(await ask({ ask: "step", layer, head, query }), names, { query, head, heads: this.layer.heads });
    if (view === "switch") {
      const before = this.overview.prediction;
      return switching({ off, named: (one) => this.named(one), before, layer, head, heads: this.layer.heads, names, query, ask, onchange: (changed) => this.set({ off: changed }) });
    }
    if (view === "compare") return this.compare();
    if (view === "place") {
      const { axes } = this.overview;
      const spans = axes[this.layer.keys].spans;
      if (!spans.length) return [h("p", {}, "of the keys of this layer it is not known where they lie: the matrix shows them by number")];
      const weights = await this.row(layer, head, query);
      const own = axes[this.layer.queries].spans;
      const mine = own.length ? Array.from({ length: own[query][1] - own[query][0] }, (_, n) => own[query][0] + n) : null;
      const onchoose = (/** @type {number} */ input) => {
        const chosen = own.findIndex((/** @type {number[]} */ [first, end]) => first <= input && input < end);
        if (chosen >= 0) this.set({ query: chosen });
      };
      return inPlace(this.place, { weights, spans, query: mine, names: names.keys, number: query, onchoose, onquery: (chosen) => this.set({ query: chosen }) });
    }
    const { what } = this.state;
    if (view === "matrix" && what !== "matrix") {
      const found = ask({ ask: what, layer, ...(what === "gradient" ? { head, query } : {}) });
      // Not all layers and predictions have one; the way back stays.
      return found.then((answer) => this.matrix(cellsOf(answer)), (error) => [this.chooser(), alert(error)]);
    }
    const cells = await this.cells(layer, head);
    if (view === "lines") return [lines(cells, names, { chosen: line, onchoose: (chosen) => this.set({ line: chosen }) })];
    return this.matrix(cells);
  }

  /** @param {number} layer @param {number} head @param {number} [beside] */
  async cells(layer, head, beside = 0) {
    const { rows, keys, view } = this.state;
    const close = view === "matrix" ? { ...(rows ? { rows } : {}), ...(keys ? { keys } : {}) } : {};
    return cellsOf(await this.ask({ ask: "matrix", layer, head, ...(beside ? { of: "beside" } : close) }));
  }

  /** All weights of a query. @param {number} layer @param {number} head @param {number} query */
  async row(layer, head, query) {
    const { queries, keys } = this.names(this.overview.layers[layer]);
    if (Math.max(queries.length, keys.length) <= 512) return (await this.cells(layer, head)).values.slice(query * keys.length, (query + 1) * keys.length);
    const parts = [];
    for (let first = 0; first < keys.length; first += 512)
      parts.push(this.ask({ ask: "matrix", layer, head, rows: [query, query + 1], keys: [first, Math.min(first + 512, keys.length)] }));
    const found = new Float32Array(keys.length);
    (await Promise.all(parts)).forEach((part) => found.set(part.floats[0], part.content.keys[0]));
    return found;
  }

  async compare() {
    const { layer, head } = this.state;
    const { layers } = this.overview;
    const alike = (/** @type {any} */ other) => other.queries === this.layer.queries && other.keys === this.layer.keys;
    const { beside } = this.overview;
    const names = this.names();
    /** @type {[number, number, number, string][]} layer, head, whether beside, title */
    const choices = [];
    layers.forEach((/** @type {any} */ one, /** @type {number} */ n) => {
      if (alike(one) && this.held[n]) for (let k = 0; k < one.heads; k++) choices.push([n, k, 0, `layer ${n}, head ${k}`]);
    });
    beside?.layers.forEach((/** @type {any} */ one, /** @type {number} */ n) => {
      if (one.kind === this.layer.kind) for (let k = 0; k < one.heads; k++) choices.push([n, k, 1, `${beside.name}: layer ${n}, head ${k}`]);
    });
    const wanted = this.state.other;
    const other = (/** @type {[number, number, number, string]} */ one) => one[2] === 1 || one[0] !== layer || one[1] !== head;
    const chosen = choices.find((one) => one.slice(0, 3).join() === wanted.join() && other(one))
      ?? choices.find((one) => one[2] === wanted[2] && one[0] === layer && one[1] === head && other(one))
      ?? choices.find((one) => one[0] === layer && other(one)) ?? choices.find(other) ?? choices[0];
    const chooser = h("label", {}, "beside");
    const select = h("select", { "aria-label": "beside", onchange: () => this.set({ other: /** @type {[number, number, number]} */ (select.value.split(" ").map(Number)) }) },
      ...choices.map(([n, k, of, title]) => h("option", { value: `${n} ${k} ${of}` }, title)));
    select.value = chosen.slice(0, 3).join(" ");
    this.other = chosen.slice(0, 3);
    chooser.append(select);
    const [a, b] = await Promise.all([this.cells(layer, head), this.cells(chosen[0], chosen[1], chosen[2])]);
    const theirs = chosen[2] ? this.names(beside.layers[chosen[0]], beside.axes) : names;
    return sideBySide(a, b, names, theirs, { first: `layer ${layer}, head ${head}`, second: chosen[3], chooser });
  }

  /** @param {import("./switch.js").Off} off */
  named(off) {
    const names = this.names(this.overview.layers[off.layer ?? this.state.layer]);
    const where = `${off.head === undefined ? "all heads" : `head ${off.head}`} of ${off.layer === undefined ? "all layers" : `layer ${off.layer}`}`;
    if (off.key === undefined) return where;
    return `the key “${names.keys[off.key]}”${off.query === undefined ? "" : ` of the query “${names.queries[off.query]}”`} in ${where}`;
  }

  /** Chooses what the matrix is of. */
  chooser() {
    const select = h("select", { "aria-label": "what", onchange: () => this.set({ what: /** @type {State["what"]} */ (select.value) }) },
      ...Object.entries(WHAT).map(([name, title]) => h("option", { value: name, selected: name === this.state.what }, title)));
    return h("div", { class: "bar" }, h("label", {}, "shown", select));
  }

  /** @param {import("./matrix.js").Cells} cells */
  matrix(cells) {
    const names = this.names();
    const { what } = this.state;
    const both = what === "gradient";
    const read = h("div", { class: "read", "aria-live": "polite" }, "Point at a cell, or move with the arrow keys; Enter or a click steps through its query.");
    const onpoint = (/** @type {number} */ row, /** @type {number} */ column) => read.replaceChildren(told(cells, names, row, column));
    const onchoose = (/** @type {number} */ row, /** @type {number} */ column) => {
      const places = [cells.rows[0] + row * cells.step[0], cells.keys[0] + column * cells.step[1]];
      if (Math.max(...cells.step) > 1) this.set({ rows: around(places[0], names.queries.length), keys: around(places[1], names.keys.length) });
      else this.set({ query: places[0], view: "step" });
    };
    const whole = cells.rows[1] - cells.rows[0] === names.queries.length && cells.keys[1] - cells.keys[0] === names.keys.length;
    return [
      h("p", {}, this.layer.attention, " ", whole ? null : h("button", { onclick: () => this.set({ rows: undefined, keys: undefined }) }, "show all")),
      this.offline || this.overview.plan ? null : this.chooser(),
      WARNINGS[what] ? h("p", { class: "bad" }, WARNINGS[what]) : null,
      h("p", { class: "soft" }, "queries down, keys across"),
      legend(cells, both), read,
      h("div", { class: "scroll" }, matrix(cells, names, { onpoint, onchoose, both, chosen: this.state.query })),
    ];
  }
}

/** @param {unknown} error */
function alert(error) {
  return h("p", { class: "bad", role: "alert" }, error instanceof Error ? error.message : String(error));
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
  Promise.all([ask({ ask: "overview" }), ask({ ask: "place" })]).then(
    async ([{ content }, place]) => {
      const offline = model.offline === true;
      const held = await Promise.all((content.layers ?? []).map((/** @type {any} */ _, /** @type {number} */ layer) => !offline || ask({ ask: "heads", layer }).then(() => true, () => false)));
      page.replaceChildren();
      if (content.page) return PAGES[content.page](page, ask, content, offline);
      new Page(page, ask, content, place, offline, held);
    },
  ).then(() => void (page.dataset.ready = "true"), (error) => page.replaceChildren(h("p", { class: "bad", role: "alert" }, error.message)));
  return close;
}

export default { render };
