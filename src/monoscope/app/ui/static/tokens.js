// Text as the model sees it: tokens, coloured by how strongly a feature is active on each.

import { h } from "./dom.js";
import { short, signed } from "./format.js";

const MARKS = /[\u0000-\u001f\u007f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]| +/g;

const RUN = 4; // a longer run of spaces is cut in one-line excerpts, where indentation would fill the line

function mark(found, broken) {
  if (found[0] === " ") return "·".repeat(broken ? found.length : Math.min(found.length, RUN));
  if (found === "\n") return "↵";
  if (found === "\t") return "⇥";
  const code = found.codePointAt(0);
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  return `⟨${code.toString(16).padStart(4, "0")}⟩`;
}

// A token's text with whitespace and invisible characters shown quietly. Single spaces between words stay spaces.
// `broken` keeps the line breaks themselves.
export function pieces(text, broken, spaces = false) {
  const out = [];
  let last = 0;
  for (const found of text.matchAll(MARKS)) {
    if (found[0] === " " && text !== " " && !spaces) continue;
    if (found.index > last) out.push(text.slice(last, found.index));
    out.push(h("span", { class: "ws" }, mark(found[0], broken)));
    if (broken && found[0] === "\n") out.push("\n");
    last = found.index + found[0].length;
  }
  if (last < text.length) out.push(text.slice(last));
  return out;
}

// A few per cent at least, so that the weakest firing can still be told from none.
export const strength = (value, max) => (value > 0 && max > 0 ? Math.max(0.08, Math.min(1, value / max)) : 0);

const SEEN = 0.02; // nats: a smaller effect on the loss is not underlined

// `t.effect` is how much the loss of predicting the token rises without the feature, where that was computed.
export function token(t, max, { target = false, broken = false } = {}) {
  const on = t.value > 0;
  const empty = t.text === "";
  const felt = Math.abs(t.effect ?? 0) >= SEEN;
  const told = [on ? short(t.value) : "", empty ? "part of a character" : "", felt ? `loss without the feature ${signed(t.effect, 2)}` : ""].filter(Boolean).join(" · ");
  return h(
    "span",
    {
      class: `tok${on ? " on" : ""}${target ? " target" : ""}${empty ? " part" : ""}${felt ? (t.effect > 0 ? " helped" : " hindered") : ""}`,
      vars: on || felt ? { a: strength(t.value, max).toFixed(3), e: Math.min(1, Math.abs(t.effect ?? 0)).toFixed(3) } : null,
      data: told ? { tip: told } : null,
    },
    empty ? "▏" : pieces(t.text, broken),
  );
}

// One line, with the example's own token in a fixed place: a concordance.
export function concordance(example, max) {
  const at = example.tokens.findIndex((t) => t.position === example.position);
  const left = example.tokens.slice(0, at).map((t) => token(t, max));
  const right = example.tokens.slice(at).map((t, i) => token(t, max, { target: i === 0 }));
  return h("span", { class: "kwic code", dir: "ltr" }, h("span", { class: "left" }, h("span", {}, left)), h("span", { class: "right" }, right));
}

export function excerpt(example, max) {
  return h("p", { class: "excerpt code", dir: "ltr" }, example.tokens.map((t) => token(t, max, { target: t.position === example.position })));
}

export function passage(tokens, position, max) {
  return h("pre", { class: "passage code", dir: "ltr", tabindex: "0" }, tokens.map((t) => token(t, max, { target: t.position === position, broken: true })));
}

// A label in words: what stands between backticks is a token. One that evidence does not bear out is set back.
export function label(words, f1) {
  const weak = f1 === null || f1 === undefined || f1 < 0.5;
  const parts = words.split(/`([^`]+)`/).map((part, i) => (i % 2 ? h("code", { class: "lit" }, part) : part));
  return h("span", { class: weak ? "label-words weak" : "label-words" }, words ? parts : "no label");
}

export const literal = (text) => h("code", { class: "lit" }, text === "" ? "▏" : pieces(text, false, true));
