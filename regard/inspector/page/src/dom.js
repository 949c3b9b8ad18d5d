// Elements. Whatever is shown goes through `textContent`, so that no input is ever taken for markup.

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | number | null | undefined} Child */

/**
 * @template {Element} E
 * @param {E} element
 * @param {Record<string, any>} attributes `on...` are listeners
 * @param {Child[]} children
 */
function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  for (const child of children) {
    if (child == null) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [attributes]
 * @param {Child[]} children
 */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [attributes]
 * @param {Child[]} children
 */
export function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** @param {number} x a number for people: about seven digits */
export function number(x) {
  if (Number.isNaN(x)) return "not a number";
  if (x === 0 || (Math.abs(x) >= 1e-4 && Math.abs(x) < 1e6)) return String(Number(x.toPrecision(7)));
  return x.toExponential(5);
}

/** @param {number} x @param {number} [digits] */
export function short(x, digits = 3) {
  if (Number.isNaN(x)) return "NaN";
  return Math.abs(x) >= 1e5 || (x !== 0 && Math.abs(x) < 1e-3) ? x.toExponential(1) : x.toFixed(digits);
}

/** @param {string} text @param {number} most */
export function cut(text, most) {
  const letters = [...text];
  return letters.length <= most ? text : letters.slice(0, most - 1).join("") + "…";
}
