// What the model writes after a text, as it writes it: greedy, or drawn with a seed, coloured as the text is.

import { lines } from "./api.js";
import { hideCard, showCard, tokenCard } from "./card.js";
import { h, show } from "./dom.js";
import { counted } from "./format.js";
import { shadeOf, valueOf } from "./sheet.js";
import { pieces } from "./tokens.js";

const MOST = 256;
const HELD = 128; // features per token: what is written is not read again, whichever feature is chosen later
const numberIn = (text, low, high, otherwise) => (text !== null && text !== "" && Number(text) >= low && Number(text) <= high ? Number(text) : otherwise);

// The settings as the address holds them: none where nothing was continued.
export function readSettings(query) {
  if (!query.has("next")) return null;
  return {
    count: Math.round(numberIn(query.get("next"), 1, MOST, 40)),
    temperature: numberIn(query.get("temperature"), 0, 10, 0),
    seed: Math.round(numberIn(query.get("seed"), 0, Number.MAX_SAFE_INTEGER, 0)),
  };
}

export function writeSettings(query, settings) {
  if (!settings) return;
  query.set("next", settings.count);
  if (settings.temperature > 0) {
    query.set("temperature", settings.temperature);
    query.set("seed", settings.seed);
  }
}

export class Settings {
  constructor(given, start, stop) {
    const now = given ?? { count: 40, temperature: 0, seed: 0 };
    const field = (name, value, more) => h("input", { class: "field", type: "number", name, value, ...more });
    this.count = field("count", now.count, { min: 1, max: MOST, step: 1 });
    this.temperature = field("temperature", now.temperature > 0 ? now.temperature : 0.8, { min: 0.01, max: 10, step: "any" });
    this.seed = field("seed", now.seed, { min: 0, max: Number.MAX_SAFE_INTEGER, step: 1 });
    this.mode = h("select", { class: "field", name: "mode", onchange: () => this.arrange() }, h("option", { value: "greedy", selected: !(now.temperature > 0) }, "the likeliest"), h("option", { value: "drawn", selected: now.temperature > 0 }, "drawn at random"));
    this.go = h("button", { type: "submit", class: "button" }, "Continue");
    this.stop = h("button", { type: "button", class: "button", hidden: true, onclick: stop }, "Stop");
    this.drawn = [h("label", {}, "Temperature", this.temperature), h("label", {}, "Seed", this.seed)];
    this.element = h("form", { class: "filters continue", onsubmit: (e) => {
      e.preventDefault();
      start(this.value);
    } }, h("label", {}, "Tokens", this.count), h("label", {}, "Each token is", this.mode), this.drawn, this.go, this.stop);
    this.arrange();
  }

  get value() {
    const drawn = this.mode.value === "drawn";
    return { count: this.count.valueAsNumber, temperature: drawn ? this.temperature.valueAsNumber : 0, seed: drawn ? this.seed.valueAsNumber : 0 };
  }

  arrange() {
    for (const one of this.drawn) one.hidden = this.mode.value !== "drawn";
  }

  busy(yes) {
    this.stop.hidden = !yes;
    this.go.disabled = yes;
  }
}

export class Continuation {
  constructor(name) {
    this.tokens = [];
    this.evidence = new Map();
    this.range = [0, 0];
    this.pinned = null;
    this.text = h("pre", { class: "passage continuation code", tabindex: "0", "aria-label": name, onpointermove: (e) => this.hover(e), onpointerleave: hideCard });
    this.status = h("p", { class: "status", role: "status" });
    this.bar = h("progress", { max: 1, value: 0, "aria-label": "Tokens written" });
    this.element = h("div", { class: "written", hidden: true }, this.text, this.bar, this.status);
  }

  async write(text, settings, pinned, paint) {
    this.abort = new AbortController();
    this.tokens = [];
    this.element.hidden = false;
    this.bar.hidden = false;
    Object.assign(this.bar, { max: settings.count, value: 0 });
    this.status.textContent = "";
    this.paint();
    try {
      for await (const { token, evidence } of lines("/api/continue", { text, ...settings, strongest: HELD, feature: pinned }, this.abort.signal)) {
        this.tokens.push(token);
        for (const [id, known] of Object.entries(evidence)) this.evidence.set(Number(id), known);
        this.bar.value = this.tokens.length;
        paint();
      }
      this.tell(this.tokens.length < settings.count ? "the model ended the text" : "");
    } catch (error) {
      if (error.name !== "AbortError") throw error;
      this.tell("stopped");
    } finally {
      this.bar.hidden = true;
    }
  }

  tell(more) {
    this.status.textContent = [counted(this.tokens.length, "token"), more].filter(Boolean).join(", ");
  }

  stop() {
    this.abort?.abort();
  }

  paint() {
    show(this.text, this.tokens.map((t, i) => {
      const a = shadeOf(valueOf(t, this.pinned), this.range);
      return h("span", { class: `tok${a ? " on" : ""}`, data: { i }, vars: a ? { a: a.toFixed(3) } : null }, pieces(t.text, true));
    }));
  }

  hover(event) {
    const span = event.pointerType === "touch" ? null : event.target.closest(".tok");
    const token = span && this.tokens[span.dataset.i];
    if (!token) return hideCard();
    const rect = [...span.getClientRects()].find((r) => event.clientY >= r.top && event.clientY <= r.bottom) ?? span.getBoundingClientRect();
    return showCard({ x: event.clientX, y: rect.top, below: rect.bottom }, tokenCard(token.text, token.features, this.evidence, { pinned: this.pinned }));
  }
}
