// A served model thinking aloud: what it says as it says it, what it has in mind on each token, and the alarms.

import { hideCard, showCard } from "./card.js";
import { h, show } from "./dom.js";
import { count, counted, fixed, nameOf, short } from "./format.js";
import { rangeOf, shadeOf, valueOf } from "./sheet.js";
import { chunks, model } from "./stream.js";
import { startTips } from "./tips.js";
import { label, literal, pieces } from "./tokens.js";

const LISTED = 12; // features in the list beside the answer
const ASKED = 64; // features per token: a chosen one is coloured where it is among them
const SAMPLE = 'def area(radius: float) -> float:\n    """Return the area of a circle."""\n    ';

// How tokens are coloured: by the strongest feature, by one feature (`feature`), by any alarm, or by one rule (`rule`).
const STRONGEST = { by: "strongest" };
const ALARMS = { by: "alarms" };

class Thinking {
  constructor(served) {
    this.served = served;
    this.can = served.monoscope;
    this.colour = this.can.features ? STRONGEST : ALARMS;
    this.tokens = []; // the prompt's, where they are told, then the answer's
    this.events = [];
    this.active = new Set();
    this.chosen = -1;
    this.names = new Map();
    this.busy = false;
    this.form = this.makeForm();
    this.text = h("pre", { class: "passage code", tabindex: "0", "aria-label": "The answer", "aria-live": "off",
      onclick: (e) => this.choose(this.at(e)), onpointermove: (e) => this.hover(e), onpointerleave: hideCard });
    this.status = h("span", { role: "status" });
    this.under = h("div", { class: "under" });
    this.rules = h("div", { class: "rules" });
    this.log = h("ol", { class: "events", tabindex: "0", "aria-label": "Alarms, the latest first" });
    this.inspector = h("aside", { class: "inspector", "aria-label": "Features", tabindex: "0" });
    this.element = h("div", { class: "reading" },
      h("div", {}, this.form, h("section", { class: "answer", "aria-label": "Answer" }, this.text, this.under, this.can.rules.length ? [this.rules, this.log] : null)),
      this.inspector);
    this.draw();
  }

  makeForm() {
    const field = (name, value, more) => h("input", { class: "field", type: "number", name, value, ...more });
    const options = (name, entries) => h("select", { class: "field", name }, entries.map(([value, words]) => h("option", { value }, words)));
    this.area = h("textarea", { class: "field", "aria-label": this.can.chat ? "Your message" : "The text to go on with", spellcheck: "false", autocomplete: "off" });
    this.area.value = SAMPLE;
    this.area.addEventListener("keydown", (e) => {
      if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) this.ask();
    });
    this.inputs = {
      steer: options("steer", [["", "nothing"], ...this.can.recipes.map((name) => [name, name])]),
      most: field("most", Math.min(60, this.can.context - 1), { min: 1, max: this.can.context - 1, step: 1 }),
      temperature: field("temperature", 0.8, { min: 0, max: 2, step: "any" }),
      seed: field("seed", 1, { min: 0, max: Number.MAX_SAFE_INTEGER, step: 1 }),
    };
    const { steer, most, temperature, seed } = this.inputs;
    this.go = h("button", { type: "submit", class: "button go" }, this.can.chat ? "Ask" : "Go on");
    this.halt = h("button", { type: "button", class: "button", hidden: true, onclick: () => this.abort?.abort() }, "Stop");
    return h("form", { class: "ask", onsubmit: (e) => {
      e.preventDefault();
      this.ask();
    } }, this.area, h("div", { class: "filters" },
      this.can.recipes.length ? h("label", {}, "Steered by", steer) : null,
      h("label", {}, "Tokens", most), h("label", {}, "Temperature", temperature), h("label", {}, "Seed", seed), this.go, this.halt));
  }

  request(text) {
    const { steer, most, temperature, seed } = this.inputs;
    const read = { features: Math.min(ASKED, this.can.features), features_of_prompt: true };
    const said = { model: this.served.id, stream: true, temperature: temperature.valueAsNumber, seed: seed.valueAsNumber, steer: steer.value || null, ...read };
    return this.can.chat
      ? ["/v1/chat/completions", { ...said, messages: [{ role: "user", content: text }], max_completion_tokens: most.valueAsNumber }]
      : ["/v1/completions", { ...said, prompt: text, max_tokens: most.valueAsNumber }];
  }

  async ask() {
    if (this.busy) return;
    Object.assign(this, { tokens: [], events: [], active: new Set(), chosen: -1, busy: true, ended: "" });
    this.abort = new AbortController();
    this.prompt = this.area.value;
    notify(null);
    this.draw();
    try {
      for await (const chunk of chunks(...this.request(this.prompt), this.abort.signal)) for (const choice of chunk.choices) this.take(choice);
    } catch (error) {
      if (error.name !== "AbortError") notify(error);
      else this.ended = "stopped";
    } finally {
      this.busy = false;
      this.draw();
    }
  }

  take(choice) {
    const told = choice.monoscope ?? {};
    for (const t of told.prompt ?? []) this.add(t, true);
    if (told.tokens) for (const t of told.tokens) this.add(t, false);
    else if (choice.text ?? choice.delta?.content) this.add({ text: choice.text ?? choice.delta.content, active: [] }, false);
    if (choice.finish_reason) this.ended = choice.finish_reason === "length" ? "as many as were asked for" : "the model ended the text";
    this.drawSoon();
  }

  add(told, given) {
    const t = { ...told, features: told.features ?? [], given };
    for (const f of t.features) this.names.set(f.id, f);
    for (const event of told.events ?? []) this.events.unshift({ ...event, text: told.text });
    if (told.text !== "" || !given || told.features) this.tokens.push(t);
    this.active = new Set(told.active);
  }

  // One drawing a frame, however many tokens came.
  drawSoon() {
    this.soon ??= requestAnimationFrame(() => {
      this.soon = null;
      this.draw();
    });
  }

  draw() {
    this.go.disabled = this.busy;
    this.halt.hidden = !this.busy;
    this.drawText();
    this.drawUnder();
    if (this.can.rules.length) this.drawRules();
    this.inspect();
  }

  get pinned() {
    return this.colour.feature ?? null;
  }

  drawText() {
    const range = rangeOf(this.tokens, this.pinned);
    const spans = this.tokens.map((t, i) => {
      const alarm = this.colour.by === "alarms" ? t.active.length > 0 : t.active.includes(this.colour.rule);
      const a = ["alarms", "rule"].includes(this.colour.by) ? 0 : shadeOf(valueOf(t, this.pinned), range);
      const classes = ["tok", t.given && "given", a && "on", alarm && "alarm", i === this.chosen && "chosen"].filter(Boolean);
      return h("span", { class: classes.join(" "), data: { i }, vars: a ? { a: a.toFixed(3) } : null }, pieces(t.text, true));
    });
    const unread = this.prompt && !this.tokens.some((t) => t.given) ? h("span", { class: "given" }, this.prompt) : null;
    show(this.text, unread, spans.length || unread ? spans : h("span", { class: "none" }, "The answer appears here."), this.busy ? h("span", { class: "caret" }) : null);
  }

  drawUnder() {
    const back = (what) => h("span", { class: "pin" }, what, h("button", { type: "button", "aria-label": "Colour by strength again", onclick: () => this.paint(STRONGEST) }, "×"));
    const legend = {
      strongest: () => h("span", { class: "legend" }, "weak", h("span", { class: "ramp", "aria-hidden": "true" }), "strong, by each token’s strongest feature"),
      feature: () => back(`Coloured by #${this.pinned} ${nameOf(this.names.get(this.pinned) ?? { id: this.pinned, label: "" })}`),
      alarms: () => (this.can.features ? back("Marked where an alarm is raised") : null),
      rule: () => (this.can.features ? back(`Marked where “${this.colour.rule}” is raised`) : null),
    };
    const said = this.tokens.filter((t) => !t.given).length;
    this.status.textContent = said ? [counted(said, "token"), this.ended].filter(Boolean).join(", ") : "";
    show(this.under, legend[this.colour.by](), this.status);
  }

  drawRules() {
    const chip = (name) => h("button", { type: "button", class: "rule", data: { raised: this.active.has(name) }, "aria-pressed": this.colour.rule === name ? "true" : "false",
      onclick: () => this.paint(this.colour.rule === name ? ALARMS : { by: "rule", rule: name }) }, name, this.active.has(name) ? h("span", { class: "unseen" }, "raised") : null);
    show(this.rules, h("span", {}, "Alarms"), this.can.rules.map(chip),
      h("button", { type: "button", class: "button", "aria-pressed": this.colour.by === "alarms" ? "true" : "false", onclick: () => this.paint(ALARMS) }, "Mark all"));
    show(this.log, this.events.map((e) => h("li", { class: e.kind }, h("span", { class: "kind" }, e.kind), h("span", {}, e.rule), h("span", { class: "where" }, "at ", e.text ? literal(e.text) : `token ${e.place}`), h("span", { class: "num" }, short(e.value)))));
  }

  paint(colour) {
    this.colour = colour;
    this.draw();
  }

  pin(f) {
    this.paint(this.pinned === f.id ? STRONGEST : { by: "feature", feature: f.id });
  }

  // While it speaks, what it has in mind now; then a chosen token, or all of it.
  inspect() {
    if (!this.can.features) return show(this.inspector, h("p", { class: "none" }, "This server was given no dictionary, so it knows no features. Start it with --run RUN."));
    const chosen = this.tokens[this.chosen] ?? (this.busy ? this.tokens.at(-1) : null);
    const found = chosen ? chosen.features : this.summary();
    const top = found[0]?.value || 1;
    return show(this.inspector,
      h("header", {}, chosen ? h("h2", {}, this.tokens[this.chosen] ? "On " : "Now, on ", literal(chosen.text)) : h("h2", {}, "In all of it"),
        this.tokens[this.chosen] ? h("span", { class: "steps" }, h("button", { type: "button", class: "button", onclick: () => this.choose(-1) }, "All of it")) : null),
      chosen?.active.length ? h("p", { class: "alarms" }, `Raised: ${chosen.active.join(", ")}`) : null,
      found.length ? found.slice(0, LISTED).map((f) => this.line(f, top)) : h("p", { class: "none" }, this.tokens.length ? "No feature is active here." : "Features appear here as the model answers."),
      found.length > LISTED ? h("p", { class: "note" }, `and ${count(found.length - LISTED)} weaker ones`) : null);
  }

  line(f, top) {
    const pinned = f.id === this.pinned;
    return h("div", { class: "found", data: { pinned } },
      h("button", { type: "button", class: "pinner", "aria-pressed": pinned ? "true" : "false", "aria-label": `Colour the text by ${nameOf(f)}`, onclick: () => this.pin(f) }, label(f.label ?? "", f.label_f1)),
      h("span", { class: "num" }, short(f.value)),
      h("span", { class: "bar", vars: { v: Math.max(0, f.value / top).toFixed(3) } }),
      h("span", { class: "facts" }, `#${f.id}`, f.label_f1 == null ? null : h("span", {}, `F1 ${fixed(f.label_f1)}`)));
  }

  summary() {
    const total = new Map();
    for (const f of this.tokens.flatMap((t) => t.features)) total.set(f.id, { ...f, value: f.value + (total.get(f.id)?.value ?? 0) });
    return [...total.values()].sort((a, b) => b.value - a.value);
  }

  at(event) {
    const span = event.target.closest(".tok");
    return span ? Number(span.dataset.i) : -1;
  }

  choose(i) {
    this.chosen = i === this.chosen ? -1 : i;
    this.draw();
  }

  hover(event) {
    const i = event.pointerType === "touch" ? -1 : this.at(event);
    const t = this.tokens[i];
    if (!t) return hideCard();
    const span = event.target.closest(".tok");
    const rect = [...span.getClientRects()].find((r) => event.clientY >= r.top && event.clientY <= r.bottom) ?? span.getBoundingClientRect();
    const first = t.features.filter((f) => f.id === this.pinned);
    const listed = [...first, ...t.features.filter((f) => f.id !== this.pinned)].slice(0, 4);
    return showCard({ x: event.clientX, y: rect.top, below: rect.bottom },
      h("p", { class: "on" }, "On ", literal(t.text)),
      t.active.length ? h("p", { class: "small" }, `Raised: ${t.active.join(", ")}`) : null,
      listed.length ? h("ul", {}, listed.map((f) => h("li", { class: f.id === this.pinned ? "pinned" : null }, h("span", { class: "num" }, short(f.value)), h("span", { class: "words" }, label(f.label ?? "", f.label_f1))))) : null);
  }
}

const notice = document.getElementById("notice");

function notify(error) {
  notice.hidden = !error;
  if (error) show(notice, h("span", {}, h("strong", {}, error.message), " ", error.fix ?? ""));
}

function switchTheme() {
  const chosen = document.documentElement.dataset.theme;
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("monoscope-theme", dark ? "light" : "dark");
  } catch {
    // storage may be forbidden; the choice holds until the page is closed
  }
}

async function start() {
  document.getElementById("theme").addEventListener("click", switchTheme);
  startTips(document.getElementById("tip"));
  const root = document.getElementById("page");
  try {
    const served = await model();
    document.getElementById("model").textContent = served.id;
    const lead = served.monoscope.chat ? "Ask, and see what the model has in mind on each token as it answers." : "Give a beginning, and see what the model has in mind on each token as it goes on.";
    show(root, h("header", { class: "reading-head" }, h("h1", {}, "Thinking aloud"), h("p", { class: "lead" }, lead)), new Thinking(served).element);
  } catch (error) {
    notify(error);
  }
}

start();
