// A view as a file of SVG, which Python draws from the same numbers.
import { h } from "./dom.js";

/** @param {import("./wire.js").Ask} ask @param {() => Record<string, any>} question the view and what is chosen in it */
export function saver(ask, question) {
  const said = h("span");
  const button = h("button", {
    onclick: async () => {
      said.replaceChildren();
      try {
        const asked = question();
        const { content } = await ask({ ask: "svg", ...asked });
        const address = URL.createObjectURL(new Blob([content.svg], { type: "image/svg+xml" }));
        h("a", { href: address, download: `${asked.view}.svg` }).click();
        setTimeout(() => URL.revokeObjectURL(address), 10_000);
      } catch (error) {
        said.replaceChildren(h("span", { class: "bad", role: "alert" }, error instanceof Error ? error.message : String(error)));
      }
    },
  }, "save as SVG");
  return h("span", { class: "save" }, button, " ", said);
}
