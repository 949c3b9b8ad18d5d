// Questions to Python and their answers, over the `model` of an AFM widget: a server's page and a file bring a model of their own.

/** @typedef {{content: any, floats: Float32Array[], bytes: DataView[]}} Answer */
/** @typedef {(question: Record<string, any>) => Promise<Answer>} Ask */

/** @param {any} model @returns {{ask: Ask, close: () => void}} */
export function connect(model) {
  let last = 0;
  /** @type {Map<number, {resolve: (answer: Answer) => void, reject: (error: Error) => void}>} */
  const waiting = new Map();
  /** @type {Map<string, Promise<Answer>>} */
  const known = new Map();

  /** @param {any} content @param {DataView[]} buffers */
  function told(content, buffers) {
    const one = waiting.get(content?.id);
    if (!one) return;
    waiting.delete(content.id);
    if (content.error) return one.reject(new Error(content.error));
    const bytes = [...(buffers ?? [])];
    // Copied, because a view may begin where no float does.
    const floats = bytes.map((view) => new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + (view.byteLength & ~3))));
    one.resolve({ content, floats, bytes });
  }

  /** @type {Ask} */
  function ask(question) {
    const key = JSON.stringify(question);
    const found = known.get(key);
    if (found) {
      known.delete(key);
      known.set(key, found);
      return found;
    }
    const promise = new Promise((resolve, reject) => {
      const id = ++last;
      waiting.set(id, { resolve, reject });
      model.send({ ...question, id });
    });
    known.set(key, promise);
    promise.catch(() => known.delete(key));
    // Answers hold up to a megabyte each.
    if (known.size > 100) known.delete(known.keys().next().value ?? "");
    return promise;
  }

  model.on("msg:custom", told);
  return { ask, close: () => model.off("msg:custom", told) };
}
