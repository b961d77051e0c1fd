// Elements are made here and nowhere else: children are nodes or text, so data can never become markup.

import { hrefOf } from "./source.js";

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "vars") for (const [key, v] of Object.entries(value)) element.style.setProperty(`--${key}`, v);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "href" && value.startsWith("/")) element.setAttribute(name, hrefOf(value));
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export function show(root, ...children) {
  root.replaceChildren(...children.flat(Infinity).filter(Boolean));
}

export function skeleton(...heights) {
  return h("div", { class: "skeleton", "aria-hidden": "true" }, heights.map((height) => h("div", { vars: { height: `${height}px` } })));
}

export function debounce(wait, run) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(run, wait, ...values);
  };
}
