// The page in a file: the answers stand in it, packed, by the text of their questions (`offline.py`). Follows the bundle, whose
// export `inspector` is.
const text = document.getElementById("answers").textContent.trim();
const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const unpacked = new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
function read(bytes, place) {
  const size = new DataView(bytes).getUint32(place, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, place + 4, size)));
  place += 4 + size;
  return { ...head, buffers: head.lengths.map((length) => new DataView(bytes.slice(place, (place += length)))), end: place };
}
const listeners = new Set();
const model = {
  offline: true,
  on: (_, listener) => listeners.add(listener),
  off: (_, listener) => listeners.delete(listener),
  async send({ id, ...question }) {
    const bytes = await unpacked;
    const { content: places, end } = read(bytes, 0);
    const place = places[JSON.stringify(question, Object.keys(question).sort())];
    const error = "this file does not hold that: `regard inspect` with the run does";
    const found = place === undefined ? { content: { error }, buffers: [] } : read(bytes, end + place);
    listeners.forEach((each) => each({ ...found.content, id }, found.buffers));
  },
};
inspector.render({ model, el: document.getElementById("page") });
