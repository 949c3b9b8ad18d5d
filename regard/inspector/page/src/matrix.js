// The weights of a head as a matrix: queries down, keys across.
import { css, hidden, palette, SPOILED } from "./color.js";
import { cut, h, number } from "./dom.js";

/**
 * @typedef {object} Cells
 * @property {Float32Array} values `[rows, columns]`, -Infinity where all pairs are hidden
 * @property {number[]} shape
 * @property {number[]} rows first and end
 * @property {number[]} keys
 * @property {number[]} step pairs down and across that share a cell
 * @property {Float32Array} [least] of each row of cells the smallest sum of weights
 * @property {Float32Array} [most]
 */

/** @param {import("./wire.js").Answer} answer @returns {Cells} */
export function cellsOf({ content, floats }) {
  return { ...content, values: floats[0], least: floats[1], most: floats[2] };
}

/** The smallest, not above 0, and the largest number that is shown. @param {Float32Array} values */
export function bounds(values) {
  let low = 0;
  let high = 0;
  let spoiled = 0;
  for (const x of values) {
    if (Number.isNaN(x)) spoiled++;
    else if (x !== -Infinity) {
      if (x < low) low = x;
      if (x > high) high = x;
    }
  }
  return { low, high, spoiled };
}

/** An image of a pixel for each cell. @param {Cells} cells @param {boolean} [both] @param {number} [top] */
export function image(cells, both = false, top = undefined) {
  const [rows, columns] = cells.shape;
  const canvas = h("canvas", { width: Math.max(columns, 1), height: Math.max(rows, 1) });
  const context = canvas.getContext("2d");
  if (!context || !rows || !columns) return canvas;
  const picture = context.createImageData(columns, rows);
  const colors = palette(both);
  const { low, high } = bounds(cells.values);
  const most = top ?? (Math.max(high, -low) || 1);
  const hide = hidden().back.match(/\w\w/g)?.map((x) => parseInt(x, 16)) ?? [200, 200, 200];
  const wrong = SPOILED.match(/\w\w/g)?.map((x) => parseInt(x, 16)) ?? [255, 0, 255];
  cells.values.forEach((x, n) => {
    const share = both ? (x / most + 1) / 2 : x / most;
    const color = Number.isNaN(x) ? wrong : x === -Infinity ? hide : colors[Math.round(Math.min(Math.max(share, 0), 1) * 255)];
    picture.data.set([color[0], color[1], color[2], 255], 4 * n);
  });
  context.putImageData(picture, 0, 0);
  return canvas;
}

/** Which name stands beside a row or column of cells. @param {string[]} names @param {number} first @param {number} step @param {number} n */
export function nameOf(names, first, step, n) {
  const begin = first + n * step;
  const end = Math.min(begin + step, names.length) - 1;
  return end > begin ? `${names[begin]} to ${names[end]}` : (names[begin] ?? "");
}

/**
 * A matrix with names on its axes. Mouse and arrow keys move over its cells.
 * @param {Cells} cells
 * @param {{queries: string[], keys: string[]}} names
 * @param {{chosen?: number, both?: boolean, onpoint?: (row: number, column: number) => void, onchoose?: (row: number, column: number) => void, small?: boolean, wide?: boolean}} options
 */
export function matrix(cells, names, options = {}) {
  const [rows, columns] = cells.shape;
  const cell = Math.max(1, Math.min(options.small ? 16 : 28, Math.floor((options.small ? 300 : options.wide ? 800 : 640) / Math.max(columns, 1)), Math.floor(900 / Math.max(rows, 1))));
  const named = cell >= 9;
  const left = named ? 110 : 60;
  const top = named ? 90 : 40;
  const width = left + columns * cell + 8;
  const height = top + rows * cell + 8;
  const scale = Math.min(2, globalThis.devicePixelRatio || 1);
  const canvas = h("canvas", {
    width: width * scale, height: height * scale, tabindex: 0, role: "img", style: `width:${width}px;height:${height}px`,
    "aria-label": `weights of ${rows} rows of queries and ${columns} columns of keys; arrow keys move, Enter chooses`,
  });
  const picture = image(cells, options.both);
  let at = /** @type {[number, number] | null} */ (null);

  function draw() {
    const context = canvas.getContext("2d");
    if (!context) return;
    const ink = getComputedStyle(canvas).color || "#888";
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, left, top, columns * cell, rows * cell);
    if (cell >= 4) hatch(context);
    context.fillStyle = ink;
    context.font = `${Math.min(12, Math.max(9, cell - 2))}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    const every = Math.max(1, Math.ceil(14 / cell / (named ? 99 : 1)), named ? 1 : Math.ceil(60 / cell));
    context.textAlign = "right";
    for (let n = 0; n < rows; n += every)
      context.fillText(cut(names.queries[cells.rows[0] + n * cells.step[0]] ?? "", named ? 14 : 7), left - 5, top + (n + 0.5) * cell);
    for (let n = 0; n < columns; n += every) {
      context.save();
      context.translate(left + (n + 0.5) * cell, top - 5);
      context.rotate(-Math.PI / (named ? 2 : 3));
      context.textAlign = "left";
      context.fillText(cut(names.keys[cells.keys[0] + n * cells.step[1]] ?? "", named ? 13 : 6), 0, 0);
      context.restore();
    }
    context.strokeStyle = css(0.75);
    if (options.chosen !== undefined) {
      const row = Math.floor((options.chosen - cells.rows[0]) / cells.step[0]);
      if (row >= 0 && row < rows) context.strokeRect(left - 0.5, top + row * cell - 0.5, columns * cell + 1, Math.max(cell, 2) + 1);
    }
    if (at) {
      context.strokeStyle = "#e66100";
      context.lineWidth = 2;
      context.strokeRect(left + at[1] * cell - 1, top + at[0] * cell - 1, cell + 2, cell + 2);
      context.lineWidth = 1;
    }
  }

  /** @param {CanvasRenderingContext2D} context */
  function hatch(context) {
    context.strokeStyle = hidden().line;
    context.beginPath();
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++)
        if (cells.values[r * columns + c] === -Infinity) {
          context.moveTo(left + c * cell, top + (r + 1) * cell);
          context.lineTo(left + (c + 1) * cell, top + r * cell);
        }
    context.stroke();
  }

  /** @param {number} row @param {number} column */
  function point(row, column) {
    at = [row, column];
    draw();
    options.onpoint?.(row, column);
  }

  /** @param {MouseEvent} event @returns {[number, number] | null} */
  function under(event) {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - left) / cell);
    const row = Math.floor((event.clientY - box.top - top) / cell);
    return row >= 0 && row < rows && column >= 0 && column < columns ? [row, column] : null;
  }

  canvas.addEventListener("mousemove", (event) => {
    const found = under(event);
    if (found && (!at || found[0] !== at[0] || found[1] !== at[1])) point(...found);
  });
  canvas.addEventListener("click", (event) => {
    const found = under(event);
    if (found) options.onchoose?.(...found);
  });
  canvas.addEventListener("keydown", (event) => {
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const [row, column] = at ?? [0, 0];
    if (event.key in moves) {
      const [down, across] = moves[event.key];
      point(Math.min(Math.max(row + down, 0), rows - 1), Math.min(Math.max(column + across, 0), columns - 1));
      event.preventDefault();
    } else if (event.key === "Enter") options.onchoose?.(row, column);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  requestAnimationFrame(draw);
  return canvas;
}

/** What a cell says, in words. @param {Cells} cells @param {{queries: string[], keys: string[]}} names @param {number} row @param {number} column */
export function told(cells, names, row, column) {
  const weight = cells.values[row * cells.shape[1] + column];
  const query = nameOf(names.queries, cells.rows[0], cells.step[0], row);
  const key = nameOf(names.keys, cells.keys[0], cells.step[1], column);
  const pairs = cells.step[0] * cells.step[1];
  const what = weight === -Infinity ? "hidden by the pattern" : `${pairs > 1 ? `largest of ${pairs} pairs` : "weight"} ${number(weight)}`;
  const least = cells.least?.[row] ?? NaN;
  const most = cells.most?.[row] ?? NaN;
  const sum = least === most || pairs === 1 ? number(most) : `${number(least)} to ${number(most)}`;
  return h("div", { "data-weight": weight, "data-row": row, "data-column": column },
    h("div", {}, `query “${query}” → key “${key}”: ${what}`),
    cells.least ? h("div", { class: "soft" }, `the weights of this query sum to ${sum}`) : null);
}

/** @param {Cells} cells @param {boolean} [both] @param {boolean} [hides] whether any cell may be hidden */
export function legend(cells, both = false, hides = true) {
  const { low, high, spoiled } = bounds(cells.values);
  const most = Math.max(high, -low);
  const shades = [0, 0.25, 0.5, 0.75, 1].map((share) => css(share, both)).join(",");
  const look = hidden();
  return h("div", { class: "legend" },
    h("span", {}, both ? number(-most) : "0"), h("i", { style: `background:linear-gradient(90deg,${shades})` }), h("span", {}, number(most)),
    hides ? h("i", { style: `width:14px;background:repeating-linear-gradient(135deg,${look.back} 0 3px,${look.line} 3px 4px)` }) : null,
    hides ? h("span", {}, "hidden by the pattern") : null,
    low < 0 && !both ? h("span", { class: "bad" }, `weights below zero, down to ${number(low)}, are shown as 0`) : null,
    spoiled ? h("span", { class: "bad" }, `${spoiled} weights are not a number`) : null,
    cells.step[0] * cells.step[1] > 1
      ? h("span", { class: "pooled" }, `each cell is the largest weight of ${cells.step[0]} × ${cells.step[1]} pairs: click one to come closer`)
      : null);
}
