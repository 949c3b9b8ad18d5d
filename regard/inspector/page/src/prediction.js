// What the model predicts, as its task writes it.
import { h, number, short } from "./dom.js";

/** @param {Record<string, number>} chances */
function bars(chances) {
  const box = h("div", { class: "chance" });
  // Names that are numbers would come in their own order.
  for (const [name, chance] of Object.entries(chances).sort((a, b) => b[1] - a[1]))
    box.append(h("b", { title: name }, name), h("i", { style: `width:${Math.max(0, Math.min(1, chance)) * 100}%` }), h("span", { title: number(chance) }, short(chance)));
  return box;
}

/** @param {any} value @returns {string} */
function plain(value) {
  return typeof value === "number" ? number(value) : typeof value === "string" ? value : JSON.stringify(value);
}

/** @param {any} prediction */
export function predictionBox(prediction) {
  const box = h("div", { class: "prediction" });
  for (const [name, value] of Object.entries(prediction)) {
    if (name === "name") continue;
    if ((name === "vectors" || name === "boxes") && Array.isArray(value)) {
      const rows = value.slice(0, 200).map((one, n) => {
        const answer = "label" in one ? one.label : "number" in one ? number(one.number) : plain(one);
        const sure = one.probability ?? one.score;
        return h("tr", {}, h("td", {}, one.token ?? one.query ?? n), h("td", {}, answer), h("td", {}, sure === undefined ? "" : short(sure)));
      });
      if (name === "boxes") box.append(h("p", { class: "soft" }, "boxes, by query"));
      box.append(h("div", { class: "scroll" }, h("table", {}, h("tbody", {}, ...rows))));
      if (value.length > 200) box.append(h("p", { class: "soft" }, `and ${value.length - 200} more`));
    } else if (value && typeof value === "object" && !Array.isArray(value) && Object.values(value).every((x) => typeof x === "number")) {
      box.append(h("p", { class: "soft" }, name), bars(value));
    } else box.append(h("p", {}, h("span", { class: "soft" }, `${name}: `), plain(value)));
  }
  return box;
}
