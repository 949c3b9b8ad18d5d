// The page in a file: the answers stand in it, packed, by the text of their questions (`offline.py`). Follows the bundle, whose
// export `inspector` is.
const text = document.getElementById("answers").textContent.trim();
const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const unpacked = new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
const held = unpacked.then((bytes) => {
  const end = 4 + new DataView(bytes).getUint32(0, true);
  return { answers: JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, end - 4))), numbers: whole(new Uint8Array(bytes, end)) };
});
/** The numbers whose first bytes stand before all second ones. @param {Uint8Array} planes */
function whole(planes) {
  const found = new Uint8Array(planes.length);
  for (let plane = 0, n = 0; plane < 4; plane++) for (let place = plane; place < found.length; place += 4) found[place] = planes[n++];
  return found.buffer;
}
const listeners = new Set();
const model = {
  offline: true,
  on: (_, listener) => listeners.add(listener),
  off: (_, listener) => listeners.delete(listener),
  async send({ id, ...question }) {
    const { answers, numbers } = await held;
    const error = "this file does not hold that: `regard inspect` with the run does";
    const { content, buffers } = answers[JSON.stringify(question, Object.keys(question).sort())] ?? { content: { error }, buffers: [] };
    const views = buffers.map(([first, end]) => new DataView(numbers.slice(first, end)));
    const found = { content, buffers: views };
    listeners.forEach((each) => each({ ...found.content, id }, found.buffers));
  },
};
inspector.render({ model, el: document.getElementById("page") });
