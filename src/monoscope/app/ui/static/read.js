// Live reading: type, and see what the model has in mind on each token. The text stays where it is typed; the colours
// lie behind it.

import { post } from "./api.js";
import { debounce, h, show } from "./dom.js";
import { characterAt, count, fixed, nameOf, short } from "./format.js";
import { label, literal, strength } from "./tokens.js";

const WAIT = 60; // ms after the last key
const LONGEST_SHARED = 1500; // characters that still fit an address
const LISTED = 16; // features per token that the page asks for and shows
const SAMPLE = 'def area(radius: float) -> float:\n    """Return the area of a circle."""\n    if radius < 0:\n        raise ValueError("radius must not be negative")\n    return 3.14159 * radius ** 2\n';

class Reading {
  constructor(shell, visit, text, pinned) {
    this.shell = shell;
    this.visit = visit;
    this.tokens = [];
    this.chosen = -1;
    this.pinned = pinned;
    this.labels = new Map();
    this.turn = 0;
    this.back = h("pre", { "aria-hidden": "true" });
    this.area = h("textarea", { "aria-label": "Text to read", placeholder: "Type or paste text. The model reads along.", spellcheck: "false", autocapitalize: "off", autocomplete: "off" });
    this.area.value = text;
    this.under = h("div", { class: "under" });
    this.time = h("span", { role: "status" });
    this.inspector = h("aside", { class: "inspector", "aria-label": "Features", "aria-live": "polite", tabindex: "0" });
    this.readSoon = debounce(WAIT, () => this.read());
    this.shareSoon = debounce(400, () => this.share());
    this.area.addEventListener("input", () => {
      this.paint();
      this.readSoon();
      this.shareSoon();
    });
    for (const event of ["click", "keyup", "select"]) this.area.addEventListener(event, () => this.followCaret());
  }

  get text() {
    return this.area.value.toWellFormed();
  }

  share() {
    const query = new URLSearchParams();
    if (this.text && this.text.length <= LONGEST_SHARED) query.set("text", this.text);
    if (this.pinned !== null) query.set("feature", this.pinned);
    this.visit.rewrite(query.size ? `/read?${query}` : "/read");
  }

  async read() {
    if (!this.visit.current()) return;
    const text = this.text;
    const turn = ++this.turn;
    this.abort?.abort();
    this.abort = new AbortController();
    const begun = performance.now();
    try {
      const { tokens } = await post("/api/read", { text, strongest: LISTED, feature: this.pinned }, this.abort.signal);
      if (turn !== this.turn) return;
      this.take(text, tokens, performance.now() - begun);
      this.shell.notify(null);
    } catch (error) {
      if (error.name === "AbortError" || turn !== this.turn) return;
      this.shell.notify(error);
    }
  }

  take(text, tokens, milliseconds) {
    const at = characterAt(text);
    this.readText = text;
    this.tokens = tokens.map((t) => ({ ...t, from: at[t.start], to: at[t.end] }));
    this.labels.clear();
    for (const t of tokens) for (const f of t.features) this.labels.set(f.id, f);
    this.time.textContent = tokens.length ? `${count(tokens.length)} tokens in ${Math.round(milliseconds)} ms` : "";
    if (this.chosen >= this.tokens.length) this.chosen = -1;
    if (document.activeElement === this.area) this.followCaret();
    this.paint();
    this.inspect();
  }

  value(token) {
    if (this.pinned === null) return token.features[0]?.value ?? 0;
    return token.features.find((f) => f.id === this.pinned)?.value ?? 0;
  }

  // From a token's value to its shade. Every token's strongest feature is strong: what tells tokens apart is the
  // place between the weakest and the strongest of this text. A pinned feature is shown from 0 to its strongest.
  scale() {
    const values = this.tokens.map((t) => this.value(t));
    const top = values.reduce((a, b) => Math.max(a, b), 0);
    const low = this.pinned === null ? values.reduce((a, b) => Math.min(a, b), top) : 0;
    return (value) => strength(value - (low < top ? low : 0), top - (low < top ? low : 0));
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
    const shade = this.scale();
    const spans = [];
    let at = 0;
    this.tokens.forEach((t, i) => {
      const moved = t.from >= old.length - tail ? shift : t.to <= same ? 0 : null;
      if (moved === null || t.to === t.from || t.from + moved < at) return;
      if (t.from + moved > at) spans.push(text.slice(at, t.from + moved));
      at = t.to + moved;
      const a = shade(this.value(t));
      spans.push(h("span", { class: `tok${a ? " on" : ""}${i === this.chosen ? " chosen" : ""}`, vars: a ? { a: a.toFixed(3) } : null }, text.slice(t.from + moved, at)));
    });
    show(this.back, spans, `${text.slice(at)}\u200b\n`);
    this.drawUnder();
  }

  followCaret() {
    const caret = this.area.selectionStart;
    // The character before the caret was typed last; at the start of the text, the one after it.
    const at = Math.max(0, this.area.selectionEnd > caret ? caret : caret - 1);
    const found = this.tokens.findIndex((t) => at >= t.from && at < t.to);
    this.choose(found);
  }

  choose(i) {
    if (i === this.chosen) return;
    this.chosen = i;
    this.paint();
    this.inspect();
  }

  step(by) {
    if (!this.tokens.length) return;
    this.choose(Math.max(0, Math.min(this.tokens.length - 1, this.chosen + by)));
  }

  pin(id) {
    this.pinned = this.pinned === id ? null : id;
    this.share();
    this.paint();
    this.inspect();
    if (this.pinned !== null) this.read(); // also where it is too weak to be listed
  }

  drawUnder() {
    const name = this.pinned === null ? null : nameOf(this.labels.get(this.pinned) ?? { id: this.pinned, label: "" });
    show(this.under,
      this.pinned === null
        ? h("span", { class: "legend" }, "weak", h("span", { class: "ramp", "aria-hidden": "true" }), "strong, by each token’s strongest feature")
        : h("span", { class: "pin" }, `Coloured by #${this.pinned} ${name}`, h("button", { type: "button", "aria-label": "Colour by strength again", onclick: () => this.pin(this.pinned) }, "×")),
      this.area.value ? null : h("button", { type: "button", class: "button", onclick: () => this.put(SAMPLE) }, "Try an example"),
      this.time);
  }

  put(text) {
    this.area.value = text;
    this.area.focus();
    this.paint();
    this.read();
    this.share();
  }

  // All features of the text, by how much they fire in it.
  summary() {
    const total = new Map();
    for (const t of this.tokens) for (const f of t.features) total.set(f.id, (total.get(f.id) ?? 0) + f.value);
    return [...total].sort((a, b) => b[1] - a[1]).map(([id, value]) => ({ ...this.labels.get(id), value }));
  }

  inspect() {
    const token = this.tokens[this.chosen];
    const found = token ? token.features : this.summary();
    const top = found[0]?.value ?? 1;
    const steps = h("span", { class: "steps" },
      h("button", { type: "button", class: "button", "aria-label": "Previous token", onclick: () => this.step(-1) }, "←"),
      h("button", { type: "button", class: "button", "aria-label": "Next token", onclick: () => this.step(1) }, "→"),
      token ? h("button", { type: "button", class: "button", onclick: () => this.choose(-1) }, "Whole text") : null);
    show(this.inspector,
      h("header", {}, token ? h("h2", {}, "On ", literal(token.text)) : h("h2", {}, "In the whole text"), this.tokens.length ? steps : null),
      found.length ? found.slice(0, LISTED).map((f) => this.line(f, top)) : h("p", { class: "none" }, this.tokens.length ? "No feature is active here." : "Features appear here as you type."),
      !token && found.length > LISTED ? h("p", { class: "note" }, `and ${count(found.length - LISTED)} weaker ones`) : null);
  }

  line(f, top) {
    const isPinned = f.id === this.pinned;
    return h("div", { class: "found", data: { pinned: isPinned } },
      h("button", { type: "button", "aria-pressed": isPinned ? "true" : "false", title: "Colour the text by this feature", onclick: () => this.pin(f.id) }, label(f.label, f.label_f1)),
      h("span", { class: "num" }, short(f.value)),
      h("span", { class: "bar", vars: { v: Math.max(0, f.value / top).toFixed(3) } }),
      h("span", { class: "facts" }, h("a", { href: `/feature/${f.id}` }, `#${f.id}`), f.label_f1 === null ? null : h("span", {}, `F1 ${fixed(f.label_f1)}`)));
  }
}

export async function open(root, { query }, shell, visit) {
  const asked = query.get("feature");
  const reading = new Reading(shell, visit, query.get("text") ?? "", asked !== null && /^\d+$/.test(asked) ? Number(asked) : null);
  shell.title("Read");
  show(root, h("header", { class: "reading-head" }, h("h1", {}, "Read along"), h("p", { class: "lead" }, "Put the cursor on a word to see what the model has in mind there. Choose a feature to colour the whole text by it.")),
    h("div", { class: "reading" }, h("div", {}, h("div", { class: "sheet" }, reading.back, reading.area), reading.under), reading.inspector));
  reading.paint();
  reading.inspect();
  visit.hold({
    key(event) {
      if (!event.altKey || !["ArrowLeft", "ArrowRight"].includes(event.key)) return false;
      reading.step(event.key === "ArrowLeft" ? -1 : 1);
      return true;
    },
    close() {
      reading.turn++;
      reading.abort?.abort();
    },
  });
  if (reading.text) await reading.read();
}
