// A text that is read as it is typed. The text stays where it is typed; the colours lie behind it.

import { post } from "./api.js";
import { hideCard, showCard, tokenCard } from "./card.js";
import { debounce, h, show } from "./dom.js";
import { characterAt } from "./format.js";
import { strength } from "./tokens.js";

const WAIT = 60; // ms after the last key
export const LISTED = 16; // features per token that the page asks for and shows

// Where the values of these tokens lie. Every token's strongest feature is strong: what tells tokens apart is the place
// between the weakest and the strongest. A pinned feature is shown from 0 to its strongest.
export function rangeOf(tokens, pinned) {
  const values = tokens.map((t) => valueOf(t, pinned));
  const top = values.reduce((a, b) => Math.max(a, b), 0);
  const low = pinned === null ? values.reduce((a, b) => Math.min(a, b), top) : 0;
  return [low < top ? low : 0, top];
}

export function valueOf(token, pinned) {
  if (pinned === null) return token.features[0]?.value ?? 0;
  return token.features.find((f) => f.id === pinned)?.value ?? 0;
}

export const shadeOf = (value, [low, top]) => strength(value - low, top - low);

// `on` tells of what happens: read(sheet, ms) after an answer, typed(sheet), chosen(sheet, i), failed(error), current().
export class Sheet {
  constructor(name, text, on) {
    this.on = on;
    this.tokens = [];
    this.chosen = -1;
    this.pinned = null;
    this.range = [0, 0];
    this.evidence = new Map();
    this.turn = 0;
    this.back = h("pre", { "aria-hidden": "true" });
    this.area = h("textarea", { "aria-label": name, placeholder: "Type or paste text. The model reads along.", spellcheck: "false", autocapitalize: "off", autocomplete: "off" });
    this.area.value = text;
    this.element = h("div", { class: "sheet" }, this.back, this.area);
    this.readSoon = debounce(WAIT, () => this.read());
    this.area.addEventListener("input", () => {
      this.paint();
      this.readSoon();
      on.typed(this);
    });
    for (const event of ["click", "keyup", "select"]) this.area.addEventListener(event, () => this.followCaret());
    this.area.addEventListener("pointermove", (event) => this.hover(event));
    this.area.addEventListener("pointerleave", hideCard);
  }

  get text() {
    return this.area.value.toWellFormed();
  }

  put(text) {
    this.area.value = text;
    this.paint();
    return this.read();
  }

  async read() {
    if (!this.on.current()) return;
    const text = this.text;
    const turn = ++this.turn;
    this.abort?.abort();
    this.abort = new AbortController();
    const begun = performance.now();
    try {
      const found = await post("/api/read", { text, strongest: LISTED, feature: this.pinned }, this.abort.signal);
      if (turn !== this.turn) return;
      this.take(text, found);
      this.on.read(this, performance.now() - begun);
    } catch (error) {
      if (error.name !== "AbortError" && turn === this.turn) this.on.failed(error);
    }
  }

  take(text, { tokens, evidence }) {
    const at = characterAt(text);
    this.readText = text;
    this.tokens = tokens.map((t) => ({ ...t, from: at[t.start], to: at[t.end] }));
    this.evidence = new Map(Object.entries(evidence).map(([id, known]) => [Number(id), known]));
    if (this.chosen >= this.tokens.length) this.chosen = -1;
    if (document.activeElement === this.area) this.followCaret();
  }

  // Colours the text as it stands. While an answer is under way, the part that has not changed keeps its colours.
  paint() {
    const text = this.area.value;
    const old = this.readText ?? "";
    let same = 0;
    while (same < Math.min(text.length, old.length) && text[same] === old[same]) same++;
    let tail = 0;
    while (tail < Math.min(text.length, old.length) - same && text[text.length - 1 - tail] === old[old.length - 1 - tail]) tail++;
    const shift = text.length - old.length;
    const spans = [];
    let at = 0;
    this.tokens.forEach((t, i) => {
      const moved = t.from >= old.length - tail ? shift : t.to <= same ? 0 : null;
      if (moved === null || t.to === t.from || t.from + moved < at) return;
      if (t.from + moved > at) spans.push(text.slice(at, t.from + moved));
      at = t.to + moved;
      const a = shadeOf(valueOf(t, this.pinned), this.range);
      spans.push(h("span", { class: `tok${a ? " on" : ""}${i === this.chosen ? " chosen" : ""}`, data: { i }, vars: a ? { a: a.toFixed(3) } : null }, text.slice(t.from + moved, at)));
    });
    show(this.back, spans, `${text.slice(at)}\u200b\n`);
  }

  hover(event) {
    if (event.pointerType === "touch") return; // a tap puts the cursor there, and the list beside the text says the rest
    const inside = ({ left, right, top, bottom }) => event.clientX >= left && event.clientX < right && event.clientY >= top && event.clientY < bottom;
    const span = [...this.back.querySelectorAll(".tok")].find((e) => [...e.getClientRects()].some(inside));
    const token = span && this.tokens[span.dataset.i];
    if (!token) return hideCard();
    const rect = [...span.getClientRects()].find(inside);
    showCard({ x: event.clientX, y: rect.top, below: rect.bottom }, tokenCard(token.text, token.features, this.evidence, { pinned: this.pinned }));
  }

  followCaret() {
    const caret = this.area.selectionStart;
    // The character before the caret was typed last; at the start of the text, the one after it.
    const at = Math.max(0, this.area.selectionEnd > caret ? caret : caret - 1);
    this.choose(this.tokens.findIndex((t) => at >= t.from && at < t.to));
  }

  choose(i) {
    if (i === this.chosen) return;
    this.back.querySelector(".chosen")?.classList.remove("chosen");
    this.back.querySelector(`[data-i="${i}"]`)?.classList.add("chosen");
    this.chosen = i;
    this.on.chosen(this);
  }

  step(by) {
    if (this.tokens.length) this.choose(Math.max(0, Math.min(this.tokens.length - 1, this.chosen + by)));
  }

  // All features of the text, by how much they fire in it.
  summary() {
    const total = new Map();
    for (const f of this.tokens.flatMap((t) => t.features)) {
      const held = total.get(f.id) ?? { ...f, value: 0, largest: 0 };
      total.set(f.id, { ...held, value: held.value + f.value, largest: Math.max(held.largest, f.value) });
    }
    return [...total.values()].sort((a, b) => b.value - a.value);
  }

  close() {
    this.turn++;
    this.abort?.abort();
    hideCard();
  }
}
