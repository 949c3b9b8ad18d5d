// Weights in their places: over a picture, along a sound, on a graph.
import { css, dark, palette } from "./color.js";
import { cut, h, number, s, short } from "./dom.js";

const SURE = 0.5; // the score from which a box is drawn

/**
 * @typedef {object} Shown
 * @property {Float32Array} weights of the keys, -Infinity where they are hidden
 * @property {number[][]} spans of each key the first and the end of the inputs that it stands for
 * @property {number[] | null} query the inputs that the query stands for, where it is one of them
 * @property {string[]} names of the keys
 * @property {(input: number) => void} onchoose an input becomes the query
 * @property {number} number of the query
 * @property {(query: number) => void} onquery another one is chosen by its number
 */

/** @param {import("./wire.js").Answer} answer @param {Shown} shown @returns {Node[]} */
export function inPlace(answer, shown) {
  const { kind } = answer.content;
  const read = h("div", { class: "read", "aria-live": "polite" }, shown.query === null ? "" : "Click on a place: it becomes the query.");
  /** Which key stands for an input. @type {Map<number, number>} */
  const keys = new Map();
  shown.spans.forEach(([first, end], key) => {
    for (let n = first; n < end; n++) keys.set(n, key);
  });
  const told = (/** @type {number} */ input) => {
    const key = keys.get(input);
    if (key === undefined) return;
    const weight = shown.weights[key];
    read.replaceChildren(h("div", { "data-weight": weight, "data-input": input }, `“${shown.names[key]}”: ${weight === -Infinity ? "hidden by the pattern" : `weight ${number(weight)}`}`));
  };
  const weightOf = (/** @type {number} */ input) => Math.max(0, finite(shown.weights[keys.get(input) ?? -1]));
  const top = Math.max(...Array.from(shown.weights, finite), 1e-30);
  const boxed = "boxes" in answer.content;
  const rest = shown.spans.map(([first, end], key) => (first === end && !boxed ? h("p", {}, `${shown.names[key]}: weight ${number(shown.weights[key])}`) : null));
  const host = { ...shown, told, weightOf, top };
  const found = kind === "picture" ? picture(answer, host) : kind === "sound" ? sound(answer, host) : graph(answer, host);
  return [read, ...found, .../** @type {Node[]} */ (rest.filter((each) => each !== null)), h("p", { class: "soft" }, `the strongest color is the largest weight, ${number(top)}`)];
}

/** @param {number | undefined} x */
function finite(x) {
  return x === undefined || !Number.isFinite(x) ? 0 : x;
}

/** @typedef {Shown & {told: (input: number) => void, weightOf: (input: number) => number, top: number}} Host */

/** @param {import("./wire.js").Answer} answer @param {Host} host */
function picture({ content, bytes }, host) {
  const { height, width, patch, places } = content;
  /** @type {{query: number, label: string, score: number, box: number[]}[]} */
  const boxes = content.boxes ?? [];
  const big = Math.max(1, Math.floor(320 / Math.max(height, width)));
  const pixels = new Uint8ClampedArray(width * height * 4);
  const given = new Uint8Array(bytes[0].buffer, bytes[0].byteOffset, bytes[0].byteLength);
  for (let n = 0; n < width * height; n++) pixels.set([given[3 * n], given[3 * n + 1], given[3 * n + 2], 255], 4 * n);
  const small = h("canvas", { width, height });
  small.getContext("2d")?.putImageData(new ImageData(pixels, width, height), 0, 0);
  const canvases = [false, true].map((over) => {
    const canvas = h("canvas", { width: width * big, height: height * big, tabindex: 0, role: "img", style: "max-width:100%",
      "aria-label": over ? "the weights of the patches over the picture" : "the picture; the query is framed" });
    const context = canvas.getContext("2d");
    if (!context) return canvas;
    context.imageSmoothingEnabled = false;
    if (over) context.filter = "grayscale(1)";
    context.drawImage(small, 0, 0, width * big, height * big);
    context.filter = "none";
    const size = patch * big;
    places.forEach(([row, column] = [0, 0], input = 0) => {
      if (over) {
        context.fillStyle = "rgb(230,97,0)";
        context.globalAlpha = (0.85 * host.weightOf(input)) / host.top;
        context.fillRect(column * size, row * size, size, size);
        context.globalAlpha = 1;
      }
      if (host.query?.includes(input)) {
        context.strokeStyle = "#00b0ff";
        context.lineWidth = 3;
        context.strokeRect(column * size + 1.5, row * size + 1.5, size - 3, size - 3);
      }
    });
    for (const one of boxes) {
      const mine = one.query === host.number && !host.query?.length;
      const key = over && host.spans[one.query]?.[0] === host.spans[one.query]?.[1] ? finite(host.weights[one.query]) / host.top : 0;
      if (!mine && !key && (over || one.score < SURE)) continue;
      const [left, above, right, below] = one.box.map((/** @type {number} */ end) => end * big);
      context.strokeStyle = mine ? "#00b0ff" : "#e66100";
      context.lineWidth = mine || over ? 3 : 1;
      context.globalAlpha = mine || !over ? 1 : Math.max(0, key);
      context.strokeRect(left, above, right - left, below - above);
      context.globalAlpha = 1;
    }
    if (boxes.length)
      canvas.addEventListener("click", (event) => {
        const at = canvas.getBoundingClientRect();
        const [x, y] = [((event.clientX - at.left) / at.width) * width, ((event.clientY - at.top) / at.height) * height];
        const inside = boxes.filter(({ box, score }) => score >= SURE && box[0] <= x && x <= box[2] && box[1] <= y && y <= box[3]);
        if (inside.length && !host.query?.length) host.onquery(inside.sort((a, b) => area(a.box) - area(b.box))[0].query);
      });
    const under = (/** @type {MouseEvent} */ event) => {
      const box = canvas.getBoundingClientRect();
      const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      const [row, column] = [Math.floor((y * height) / patch), Math.floor((x * width) / patch)];
      return places.findIndex((/** @type {number[]} */ place) => place[0] === row && place[1] === column);
    };
    canvas.addEventListener("mousemove", (event) => host.told(under(event)));
    canvas.addEventListener("click", (event) => under(event) >= 0 && host.query !== null && (host.query.length || !boxes.length) && host.onchoose(under(event)));
    canvas.addEventListener("keydown", (event) => {
      /** @type {Record<string, [number, number]>} */
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      if (!(event.key in moves) || !host.query?.length) return;
      const [row, column] = places[host.query[0]];
      const next = places.findIndex((/** @type {number[]} */ place) => place[0] === row + moves[event.key][0] && place[1] === column + moves[event.key][1]);
      if (next >= 0) host.onchoose(next);
      event.preventDefault();
    });
    return canvas;
  });
  const told = boxes.length ? h("p", { class: "soft" }, `${boxes.filter((one) => one.score >= SURE).length} boxes have a score of at least ${SURE}; a click on one shows what its query attends to`) : null;
  return [h("div", { class: "columns" }, ...canvases), ...(told ? [told] : [])];
}

/** @param {number[]} box */
function area([left, above, right, below]) {
  return (right - left) * (below - above);
}

/** A WAV file of 16-bit samples. @param {DataView} samples @param {number} rate */
function wav(samples, rate) {
  const head = new DataView(new ArrayBuffer(44));
  const text = (/** @type {number} */ at, /** @type {string} */ letters) => [...letters].forEach((letter, n) => head.setUint8(at + n, letter.charCodeAt(0)));
  text(0, "RIFF"), text(8, "WAVEfmt "), text(36, "data");
  head.setUint32(4, 36 + samples.byteLength, true);
  head.setUint32(16, 16, true), head.setUint16(20, 1, true), head.setUint16(22, 1, true);
  head.setUint32(24, rate, true), head.setUint32(28, 2 * rate, true), head.setUint16(32, 2, true), head.setUint16(34, 16, true);
  head.setUint32(40, samples.byteLength, true);
  return new Blob([head, /** @type {BlobPart} */ (/** @type {unknown} */ (samples))], { type: "audio/wav" });
}

/** @param {import("./wire.js").Answer} answer @param {Host} host */
function sound({ content, bytes }, host) {
  const { frames, bands, rate, per_second: perSecond } = content;
  const wide = 760;
  const [waved, meled, weighed] = [rate ? 60 : 0, 2 * Math.min(bands, 80), 90];
  const canvas = h("canvas", { width: wide, height: waved + meled + weighed + 20, style: "max-width:100%", tabindex: 0, role: "img",
    "aria-label": `${short(frames / perSecond, 2)} seconds of sound: waveform, mel bands, and the weights of the frames` });
  const context = canvas.getContext("2d");
  if (!context) return [canvas];
  const ink = dark() ? "#c8ccd4" : "#39414f";
  context.fillStyle = ink;
  if (rate) {
    const samples = bytes[1];
    const count = samples.byteLength / 2;
    for (let x = 0; x < wide; x++) {
      let most = 0;
      for (let n = Math.floor((x * count) / wide); n < ((x + 1) * count) / wide; n += 4) most = Math.max(most, Math.abs(samples.getInt16(2 * n, true)));
      const tall = (most / 32768) * waved;
      context.fillRect(x, (waved - tall) / 2, 1, Math.max(tall, 1));
    }
  }
  const mel = h("canvas", { width: frames, height: bands });
  const pixels = new ImageData(frames, bands);
  const colors = palette();
  for (let t = 0; t < frames; t++)
    for (let b = 0; b < bands; b++) pixels.data.set([...colors[bytes[0].getUint8(t * bands + b)], 255], 4 * ((bands - 1 - b) * frames + t));
  mel.getContext("2d")?.putImageData(pixels, 0, 0);
  context.drawImage(mel, 0, waved, wide, meled);
  context.fillStyle = "#e66100";
  for (let x = 0; x < wide; x++) {
    const tall = (host.weightOf(Math.floor((x * frames) / wide)) / host.top) * (weighed - 6);
    context.fillRect(x, waved + meled + weighed - tall, 1, tall);
  }
  context.fillStyle = ink;
  context.font = "11px system-ui, sans-serif";
  const seconds = frames / perSecond;
  const every = seconds > 20 ? 5 : seconds > 4 ? 1 : seconds > 0.8 ? 0.2 : 0.05;
  for (let t = 0; t <= seconds; t += every) context.fillText(`${Number(t.toFixed(2))} s`, (t / seconds) * wide, waved + meled + weighed + 14);
  if (host.query?.length) {
    context.fillStyle = "#00b0ff";
    context.fillRect((host.query[0] / frames) * wide, 0, Math.max(2, (host.query.length / frames) * wide), waved + meled + weighed);
  }
  const player = rate ? h("audio", { controls: true, src: URL.createObjectURL(wav(bytes[1], rate)) }) : null;
  const frame = (/** @type {MouseEvent} */ event) => {
    const box = canvas.getBoundingClientRect();
    return Math.min(frames - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * frames)));
  };
  canvas.addEventListener("mousemove", (event) => host.told(frame(event)));
  canvas.addEventListener("click", (event) => {
    if (host.query !== null) return host.onchoose(frame(event));
    listen(frame(event));
  });
  const listen = (/** @type {number} */ at) => {
    if (!player) return;
    player.currentTime = at / perSecond;
    player.play().catch(() => undefined);
  };
  const listens = player && host.query?.length ? h("button", { onclick: () => listen(host.query?.[0] ?? 0) }, "listen from the query on") : null;
  return [h("div", { class: "scroll" }, canvas), h("div", { class: "bar" }, player, listens)];
}

/** @param {import("./wire.js").Answer} answer @param {Host} host */
function graph({ content, floats }, host) {
  const [width, height, edge] = [640, 480, 40];
  const center = host.query?.[0] ?? -1;
  /** @type {Map<number, [number, number]>} */
  const at = new Map();
  if (content.drawn) {
    for (let n = 0; n < content.nodes; n++) at.set(n, [edge + floats[0][2 * n] * (width - 2 * edge), edge + floats[0][2 * n + 1] * (height - 2 * edge)]);
  } else {
    const heaviest = Array.from(host.weights, (_, n) => n).filter((n) => host.weights[n] > 0).sort((a, b) => host.weights[b] - host.weights[a]).slice(0, 40);
    heaviest.filter((n) => n !== center).forEach((n, turn, all) => {
      const angle = (2 * Math.PI * turn) / all.length;
      at.set(n, [width / 2 + Math.cos(angle) * (width / 2 - 3 * edge), height / 2 + Math.sin(angle) * (height / 2 - edge)]);
    });
    if (center >= 0) at.set(center, [width / 2, height / 2]);
  }
  const picture = s("svg", { viewBox: `0 0 ${width} ${height}`, style: "width:100%;max-width:800px", role: "img", "aria-label": "the graph; lines from the query are as thick as its weights" });
  for (const [a, b] of content.edges) {
    const [p, q] = [at.get(a), at.get(b)];
    if (p && q) picture.append(s("line", { x1: p[0], y1: p[1], x2: q[0], y2: q[1], stroke: dark() ? "#4a5262" : "#c9ced8", "stroke-width": 1.5 }));
  }
  const start = at.get(center);
  for (const [n, place] of at) {
    const weight = host.weightOf(n);
    if (start && n !== center && weight > host.top / 200)
      picture.append(s("line", { x1: start[0], y1: start[1], x2: place[0], y2: place[1], stroke: "#e66100", "stroke-opacity": 0.8, "stroke-width": 0.5 + (9 * weight) / host.top, "data-weight": weight }));
  }
  for (const [n, [x, y]] of at) {
    const weight = host.weightOf(n);
    const choose = () => host.query !== null && host.onchoose(n);
    picture.append(
      s("circle", { cx: x, cy: y, r: content.nodes > 60 ? 6 : 11, fill: css(weight / host.top), stroke: n === center ? "#00b0ff" : dark() ? "#8a93a5" : "#5b6472", "stroke-width": n === center ? 4 : 1,
        tabindex: 0, role: "button", style: "cursor:pointer", onclick: choose, onmousemove: () => host.told(n), onfocus: () => host.told(n),
        onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Enter" && choose() }, s("title", {}, `${host.names[n]}: ${number(weight)}`)),
      at.size <= 80 ? s("text", { x: x + 13, y: y + 4, style: "pointer-events:none" }, cut(host.names[n] ?? "", 12)) : "");
  }
  return [picture, content.drawn ? h("p", { class: "soft" }, "thin lines are edges, thick ones weights") : h("p", { class: "soft" }, `of ${content.nodes} nodes, the query and the ${at.size - 1} that it attends to most`)];
}
