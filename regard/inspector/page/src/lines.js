// Weights as bundles of lines between two rows of names: queries on the left, keys on the right.
import { css } from "./color.js";
import { cut, h, number, s } from "./dom.js";

const ROW = 22;
const WIDTH = 560;
const MOST = 120;

/**
 * @param {import("./matrix.js").Cells} cells single pairs
 * @param {{queries: string[], keys: string[]}} names
 * @param {{chosen: number | null, onchoose: (query: number | null) => void}} options
 */
export function lines(cells, names, { chosen, onchoose }) {
  const [rows, columns] = cells.shape;
  if (Math.max(rows, columns) > MOST || Math.max(...cells.step) > 1)
    return h("p", {}, `there are ${names.queries.length} × ${names.keys.length} pairs, lines are for at most ${MOST} × ${MOST}: the matrix has them all`);
  const height = Math.max(rows, columns) * ROW + 10;
  const picture = s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, width: WIDTH, height, role: "img", "aria-label": "lines from queries, left, to keys, right" });
  const top = Math.max(...cells.values.filter((x) => Number.isFinite(x)), 0) || 1;
  for (let r = 0; r < rows; r++) {
    if (chosen !== null && chosen !== r) continue;
    for (let c = 0; c < columns; c++) {
      const weight = cells.values[r * columns + c];
      if (!(weight > top / 100)) continue;
      picture.append(s("line", {
        x1: 172, y1: (r + 0.5) * ROW, x2: WIDTH - 172, y2: (c + 0.5) * ROW, stroke: css(0.35 + 0.65 * (weight / top)),
        "stroke-width": 0.4 + (5 * weight) / top, "stroke-opacity": 0.25 + (0.75 * weight) / top, "data-weight": weight,
      }, s("title", {}, `${names.queries[r]} → ${names.keys[c]}: ${number(weight)}`)));
    }
  }
  for (let r = 0; r < rows; r++) {
    const choose = () => onchoose(chosen === r ? null : r);
    picture.append(s("text", {
      x: 164, y: (r + 0.5) * ROW + 4, "text-anchor": "end", tabindex: 0, role: "button", "aria-pressed": chosen === r, style: "cursor:pointer",
      "font-weight": chosen === r ? 700 : 400, onclick: choose, onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Enter" && choose(),
    }, cut(names.queries[r], 22)));
  }
  for (let c = 0; c < columns; c++) picture.append(s("text", { x: WIDTH - 164, y: (c + 0.5) * ROW + 4 }, cut(names.keys[c], 22)));
  return h("div", { class: "scroll" }, picture);
}
