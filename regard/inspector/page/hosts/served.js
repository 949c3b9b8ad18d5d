// The page that a server gives: questions go to `ask`, which answers in frames (`frames.py`).
import inspector from "./inspector.js";
const listeners = new Set();
const model = {
  on: (_, listener) => listeners.add(listener),
  off: (_, listener) => listeners.delete(listener),
  async send(question) {
    const told = (content, buffers) => listeners.forEach((each) => each(content, buffers));
    try {
      const reply = await fetch("ask", { method: "POST", body: JSON.stringify(question) });
      if (!reply.ok) throw new Error(await reply.text());
      const bytes = await reply.arrayBuffer();
      const size = new DataView(bytes).getUint32(0, true);
      const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, size)));
      let place = 4 + size;
      const buffers = head.lengths.map((length) => new DataView(bytes.slice(place, (place += length))));
      told({ ...head.content, id: question.id }, buffers);
    } catch (error) {
      told({ id: question.id, error: `the program that computes does not answer: ${error.message}` }, []);
    }
  },
};
inspector.render({ model, el: document.getElementById("page") });
