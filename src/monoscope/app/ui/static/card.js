// A card that follows the pointer: what is known of the features under it.

import { interval } from "./charts.js";
import { h, show } from "./dom.js";
import { KINDS, counted, density, fixed, short } from "./format.js";
import { label, literal } from "./tokens.js";

const card = () => document.getElementById("card");

export function hideCard() {
  card().hidden = true;
}

export function showCard({ x, y, below = y }, ...content) {
  const box = card();
  show(box, ...content);
  box.hidden = false;
  const [width, height] = [box.offsetWidth, box.offsetHeight];
  const left = Math.max(8, Math.min(innerWidth - width - 8, x - 24));
  const top = below + height + 18 < innerHeight ? below + 14 : Math.max(8, y - height - 14);
  box.style.transform = `translate(${left}px, ${top}px)`;
}

// A feature's evidence: label, F1 with its interval, and the value here beside the largest in the catalogue.
export function evidenceOf(f, known = {}) {
  const facts = [
    f.label_f1 === null ? null : [`F1 ${fixed(f.label_f1)}`, known.label_f1_low == null ? "" : `95 %: ${fixed(known.label_f1_low)} to ${fixed(known.label_f1_high)}`],
    known.label_precision == null ? null : [`precision ${fixed(known.label_precision)}`, `recall ${fixed(known.label_recall)}`],
    f.largest === undefined ? null : [`sum ${short(f.value)}`, "over the whole text"],
    [`value ${short(f.largest ?? f.value)}`, known.max ? `of at most ${short(known.max)}` : ""],
    f.tokens ? ["active on", f.tokens.map((n) => counted(n, "token")).join(" and ")] : null,
    known.density ? [`fires on ${density(known.density)}`, "of all tokens"] : null,
  ].filter(Boolean);
  return h("div", { class: "evidence-card" },
    h("p", { class: "eyebrow" }, `#${f.id}`, known.label_kind ? ` · ${KINDS[known.label_kind]} label` : ""),
    h("p", { class: "words" }, label(f.label, f.label_f1)),
    f.label_f1 === null ? null : interval(f.label_f1, known.label_f1_low, known.label_f1_high),
    h("dl", {}, facts.map(([a, b]) => h("div", {}, h("dt", {}, a), h("dd", {}, b)))));
}

export function tokenCard(text, features, evidence, { listed = 4, pinned = null } = {}) {
  const first = features.filter((f) => f.id === pinned);
  const found = [...first, ...features.filter((f) => f.id !== pinned)].slice(0, listed);
  return [
    h("p", { class: "on" }, "On ", literal(text)),
    found.length
      ? h("ul", {}, found.map((f) => h("li", { class: f.id === pinned ? "pinned" : null },
        h("span", { class: "num" }, short(f.value)),
        h("span", { class: "words" }, label(f.label, f.label_f1)),
        h("span", { class: "small" }, f.label_f1 === null ? `#${f.id}` : `F1 ${fixed(f.label_f1)} (${fixed(evidence.get(f.id)?.label_f1_low)} to ${fixed(evidence.get(f.id)?.label_f1_high)})`))))
      : h("p", { class: "none" }, "No feature is active here."),
    features.length > found.length ? h("p", { class: "small" }, `and ${features.length - found.length} more`) : null,
  ];
}
