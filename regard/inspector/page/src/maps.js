// Positions without a run: maps of numbers, less in orange and more in blue.
import { h, number } from "./dom.js";
import { cellsOf, legend, matrix } from "./matrix.js";
import { saver } from "./save.js";

/** @param {HTMLElement} root @param {import("./wire.js").Ask} ask @param {any} overview @param {boolean} offline */
export function maps(root, ask, overview, offline) {
  const main = h("div", { class: "main", role: "tabpanel" });
  const select = h("select", { "aria-label": "map", onchange: () => show(Number(select.value)) },
    ...overview.maps.map((/** @type {any} */ map, /** @type {number} */ n) => h("option", { value: n }, map.title)));
  let turn = 0;

  /** @param {number} chosen */
  async function show(chosen) {
    const mine = ++turn;
    const map = overview.maps[chosen];
    main.setAttribute("aria-busy", "true");
    try {
      const cells = cellsOf(await ask({ ask: "map", map: chosen }));
      if (mine !== turn) return;
      const [queries, keys] = map.shape.map((/** @type {number} */ count) => Array.from({ length: count }, (_, n) => String(n)));
      const read = h("div", { class: "read", "aria-live": "polite" }, "Point at a cell, or move with the arrow keys.");
      const onpoint = (/** @type {number} */ row, /** @type {number} */ column) => {
        const value = cells.values[row * cells.shape[1] + column];
        read.replaceChildren(h("div", { "data-weight": value, "data-row": row, "data-column": column }, `${map.rows} ${row}, ${map.columns} ${column}: ${number(value)}`));
      };
      main.replaceChildren(h("p", {}, map.title), h("p", { class: "soft" }, `${map.rows} down, ${map.columns} across`), legend(cells, true, false), read,
        h("div", { class: "scroll" }, matrix(cells, { queries, keys }, { onpoint, both: true, wide: true })));
    } catch (error) {
      main.replaceChildren(h("p", { class: "bad", role: "alert" }, error instanceof Error ? error.message : String(error)));
    }
    main.setAttribute("aria-busy", "false");
  }

  root.append(h("h1", {}, `${overview.run}: ${overview.input}`), h("div", { class: "bar" }, h("label", {}, "map", select), offline ? null : saver(ask, () => ({ view: "maps", map: Number(select.value) }))), main);
  return show(0);
}
