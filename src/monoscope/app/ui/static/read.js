// Live reading: type, and see what the model has in mind on each token; compare two texts; let the model go on writing.
// All that can be seen here is in the address, so that it can be sent.

import { post } from "./api.js";
import { Continuation, Settings, readSettings, writeSettings } from "./continuation.js";
import { debounce, h, show } from "./dom.js";
import { contrastLists, line } from "./found.js";
import { count, counted, nameOf } from "./format.js";
import { LISTED, Sheet, rangeOf } from "./sheet.js";
import { literal } from "./tokens.js";

const LONGEST_SHARED = 4000; // characters that an address holds everywhere
const SAMPLE = 'def area(radius: float) -> float:\n    """Return the area of a circle."""\n    if radius < 0:\n        raise ValueError("radius must not be negative")\n    return 3.14159 * radius ** 2\n';

class Reading {
  constructor(shell, visit, state) {
    Object.assign(this, { shell, visit, pinned: state.feature, settings: state.settings });
    this.names = new Map();
    this.shareSoon = debounce(400, () => this.share());
    this.contrastSoon = debounce(150, () => this.contrast());
    this.sheets = [this.sheet("Text to read", state.text), this.sheet("Text to compare it with", state.other ?? "")];
    this.written = [new Continuation("The model’s continuation"), new Continuation("The model’s continuation of the second text")];
    this.compares = state.other !== null;
    this.active = this.sheets[0];
    this.under = h("div", { class: "under" });
    this.time = h("span", { role: "status" });
    this.inspector = h("aside", { class: "inspector", "aria-label": "Features", tabindex: "0" });
    this.lists = h("div", { class: "lists-of-two" });
    this.form = new Settings(state.settings, (settings) => this.write(settings), () => this.stop());
    this.body = h("div");
    for (const one of [...this.sheets, ...this.written]) one.pinned = this.pinned;
  }

  sheet(name, text) {
    return new Sheet(name, text, {
      current: () => this.visit.current(),
      typed: () => this.shareSoon(),
      failed: (error) => this.shell.notify(error),
      read: (sheet, ms) => this.heard(sheet, ms),
      chosen: (sheet) => {
        this.active = sheet;
        this.inspect();
      },
    });
  }

  get shown() {
    return this.compares ? this.sheets : this.sheets.slice(0, 1);
  }

  get address() {
    const query = new URLSearchParams();
    const [text, other] = this.sheets.map((s) => s.text);
    this.tooLong = text.length + (this.compares ? other.length : 0) > LONGEST_SHARED;
    if (text && !this.tooLong) query.set("text", text);
    if (this.compares) query.set("other", this.tooLong ? "" : other);
    if (this.pinned !== null) query.set("feature", this.pinned);
    writeSettings(query, this.settings);
    return query.size ? `/read?${query}` : "/read";
  }

  share() {
    this.visit.rewrite(this.address);
    this.drawUnder();
  }

  heard(sheet, ms) {
    for (const f of sheet.tokens.flatMap((t) => t.features)) this.names.set(f.id, f);
    this.time.textContent = sheet.tokens.length ? `${counted(sheet.tokens.length, "token")} in ${Math.round(ms)} ms` : "";
    this.shell.notify(null);
    this.paint();
    this.drawUnder();
    this.inspect();
    if (this.compares) this.contrastSoon();
  }

  // One scale for all that is shown: the same colour is the same value in both texts and in what the model writes.
  paint() {
    const parts = [...this.shown, ...this.written.slice(0, this.shown.length)];
    const range = rangeOf(parts.flatMap((p) => p.tokens), this.pinned);
    for (const part of parts) {
      Object.assign(part, { range, pinned: this.pinned });
      part.paint();
    }
  }

  pin(f) {
    this.pinned = this.pinned === f.id ? null : f.id;
    if (this.pinned !== null) this.names.set(f.id, f);
    this.refresh();
    if (this.pinned !== null) for (const sheet of this.shown) sheet.read(); // also where it is too weak to be listed
  }

  refresh() {
    this.share();
    this.paint();
    this.inspect();
    this.drawLists();
  }

  drawUnder() {
    const name = this.pinned === null ? null : nameOf(this.names.get(this.pinned) ?? { id: this.pinned, label: "" });
    show(this.under,
      this.pinned === null
        ? h("span", { class: "legend" }, "weak", h("span", { class: "ramp", "aria-hidden": "true" }), "strong, by each token’s strongest feature")
        : h("span", { class: "pin" }, `Coloured by #${this.pinned} ${name}`, h("button", { type: "button", "aria-label": "Colour by strength again", onclick: () => this.pin({ id: this.pinned }) }, "×")),
      this.sheets[0].area.value ? null : h("button", { type: "button", class: "button", onclick: () => this.sample() }, "Try an example"),
      this.time,
      h("span", { class: "acts" },
        this.tooLong ? h("span", {}, "too long for the address") : h("button", { type: "button", class: "button", onclick: (e) => this.copy(e.currentTarget) }, "Copy link"),
        h("button", { type: "button", class: "button", "aria-pressed": this.compares ? "true" : "false", onclick: () => this.compare(!this.compares) }, this.compares ? "One text" : "Compare with…")));
  }

  sample() {
    this.sheets[0].put(SAMPLE);
    this.sheets[0].area.focus();
    this.share();
  }

  async copy(button) {
    this.share();
    try {
      await navigator.clipboard.writeText(location.href);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copy it from the address bar"; // the browser may forbid it
    }
  }

  compare(yes) {
    this.compares = yes;
    this.active = this.sheets[0];
    if (yes && !this.sheets[1].text) this.sheets[1].area.value = this.sheets[0].text;
    this.arrange();
    this.refresh();
    if (yes) {
      this.sheets[1].read();
      this.sheets[1].area.focus();
    }
  }

  async contrast() {
    if (!this.compares || !this.visit.current()) return;
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const [text, other] = this.sheets.map((s) => s.text);
    try {
      const found = await post("/api/contrast", { text, other });
      if (turn !== this.turn || !this.visit.current()) return;
      this.found = found;
      this.drawLists();
    } catch (error) {
      if (turn === this.turn) this.shell.notify(error);
    }
  }

  drawLists() {
    if (this.compares && this.found) show(this.lists, contrastLists(this.found, this.pinned, (f) => this.pin(f)));
    else show(this.lists);
  }

  inspect() {
    if (this.compares && this.active.chosen < 0) return show(this.inspector);
    const token = this.active.tokens[this.active.chosen];
    const found = token ? token.features : this.active.summary();
    const top = found[0]?.value ?? 1;
    const step = (by, words, arrow) => h("button", { type: "button", class: "button", "aria-label": words, onclick: () => this.active.step(by) }, arrow);
    return show(this.inspector,
      h("header", {}, token ? h("h2", {}, "On ", literal(token.text)) : h("h2", {}, "In the whole text"),
        this.active.tokens.length ? h("span", { class: "steps" }, step(-1, "Previous token", "←"), step(1, "Next token", "→"), token ? h("button", { type: "button", class: "button", onclick: () => this.active.choose(-1) }, "Whole text") : null) : null),
      found.length ? found.slice(0, LISTED).map((f) => line(f, this.active.evidence.get(f.id), top, this.pinned, (one) => this.pin(one))) : h("p", { class: "none" }, this.active.tokens.length ? "No feature is active here." : "Features appear here as you type."),
      !token && found.length > LISTED ? h("p", { class: "note" }, `and ${count(found.length - LISTED)} weaker ones`) : null);
  }

  async write(settings) {
    this.settings = settings;
    this.share();
    this.form.busy(true);
    this.stopped = false;
    try {
      for (const [i, sheet] of this.shown.entries()) {
        if (!this.stopped) await this.written[i].write(sheet.text, settings, this.pinned, () => this.visit.current() && this.paint());
      }
      this.shell.notify(null);
    } catch (error) {
      if (this.visit.current()) this.shell.notify(error);
    } finally {
      this.form.busy(false);
    }
  }

  stop() {
    this.stopped = true;
    for (const one of this.written) one.stop();
  }

  // What the model writes grows below the buttons that start and stop it, so that they stay where they are.
  arrange() {
    const heading = (i) => (this.compares ? h("h2", { class: "small-title" }, i ? "Second text" : "First text") : null);
    const texts = this.shown.map((sheet, i) => h("div", {}, heading(i), sheet.element));
    const written = this.shown.map((_, i) => this.written[i].element);
    const next = h("section", { class: "panel next" }, h("h2", {}, "What the model would write next"), this.form.element, h("div", { class: this.compares ? "pair" : null }, written));
    if (this.compares) show(this.body, h("div", { class: "pair" }, texts), this.under, next, this.inspector, this.lists);
    else show(this.body, h("div", { class: "reading" }, h("div", {}, texts, this.under, next), this.inspector));
    this.body.dataset.compares = this.compares;
  }

  close() {
    this.stop();
    for (const sheet of this.sheets) sheet.close();
  }
}

export async function open(root, { query }, shell, visit) {
  const asked = query.get("feature");
  const feature = asked !== null && /^\d{1,9}$/.test(asked) ? Number(asked) : null;
  const reading = new Reading(shell, visit, { text: query.get("text") ?? "", other: query.get("other"), feature, settings: readSettings(query) });
  shell.title("Read");
  show(root, h("header", { class: "reading-head" }, h("h1", {}, "Read along"), h("p", { class: "lead" }, "Point at a word to see what the model has in mind there. Choose a feature to colour the whole text by it.")), reading.body);
  reading.arrange();
  reading.paint();
  reading.drawUnder();
  reading.inspect();
  visit.hold({
    key(event) {
      if (!event.altKey || !["ArrowLeft", "ArrowRight"].includes(event.key)) return false;
      reading.active.step(event.key === "ArrowLeft" ? -1 : 1);
      return true;
    },
    close: () => reading.close(),
  });
  await Promise.all(reading.shown.filter((s) => s.text).map((s) => s.read()));
  if (reading.settings && visit.current()) await reading.write(reading.settings);
}
