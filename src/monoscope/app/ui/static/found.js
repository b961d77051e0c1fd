// Lists of features that a text has: a line each, its evidence on hover, a click to colour the text by it.

import { evidenceOf, hideCard, showCard } from "./card.js";
import { h } from "./dom.js";
import { count, fixed, short, signed } from "./format.js";
import { label } from "./tokens.js";

const card = (element, f, known) => {
  const tell = () => {
    const box = element.getBoundingClientRect();
    showCard({ x: box.left + 40, y: box.top, below: box.bottom }, evidenceOf(f, known));
  };
  element.addEventListener("pointerenter", (event) => event.pointerType !== "touch" && tell());
  element.addEventListener("focusin", () => element.matches(":focus-within:has(:focus-visible)") && tell());
  for (const event of ["pointerleave", "focusout"]) element.addEventListener(event, hideCard);
  return element;
};

const pinButton = (f, isPinned, pin) => h("button", { type: "button", class: "pinner", "aria-pressed": isPinned ? "true" : "false", "aria-label": `Colour the text by ${f.label || `feature ${f.id}`}`, onclick: () => pin(f) }, label(f.label, f.label_f1));

export function line(f, known, top, pinned, pin) {
  const isPinned = f.id === pinned;
  return card(h("div", { class: "found", data: { pinned: isPinned } },
    pinButton(f, isPinned, pin),
    h("span", { class: "num" }, short(f.value)),
    h("span", { class: "bar", vars: { v: Math.max(0, f.value / top).toFixed(3) } }),
    h("span", { class: "facts" }, h("a", { href: `/feature/${f.id}` }, `#${f.id}`), f.label_f1 === null ? null : h("span", {}, `F1 ${fixed(f.label_f1)}`))), f, known);
}

function compared(row, known, top, pinned, pin) {
  const isPinned = row.id === pinned;
  const value = Math.max(...row.values.map((v) => v ?? 0));
  const side = (i) => h("span", { class: "num side" }, row.values[i] === null ? "–" : short(row.values[i]));
  const share = (row.difference / top) * 50;
  return card(h("div", { class: "found versus", data: { pinned: isPinned } },
    pinButton(row, isPinned, pin),
    side(0),
    h("span", { class: `tilt ${row.difference < 0 ? "first" : "second"}`, vars: { v: `${Math.abs(share).toFixed(1)}%` }, "aria-hidden": "true" }),
    side(1),
    h("span", { class: "num" }, signed(row.difference, 2))), { ...row, value }, known);
}

const TITLES = [["first", "Only in the first text"], ["second", "Only in the second text"], ["both", "In both, by difference"]];

// Three lists on one scale: what fires in one text only, and how far the two differ where both have it.
export function contrastLists(found, pinned, pin) {
  const top = Math.max(1e-9, ...TITLES.flatMap(([name]) => found[name].features.map((r) => Math.abs(r.difference))));
  return h("div", { class: "contrast" }, TITLES.map(([name, title]) => {
    const { total, features } = found[name];
    return h("section", { class: "panel" }, h("h2", {}, title),
      h("p", { class: "note" }, `${count(total)} ${total === 1 ? "feature" : "features"}${total > features.length ? `, the first ${count(features.length)} shown` : ""}. Largest value in each text, and the second’s less the first’s.`),
      features.length ? features.map((row) => compared(row, found.evidence[row.id], top, pinned, pin)) : h("p", { class: "none" }, "None."));
  }));
}
