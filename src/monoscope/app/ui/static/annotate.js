// What a person says of a feature: a label of their own, a vote, a note, a bookmark. Kept in the run's folder.

import { post } from "./api.js";
import { h, show } from "./dom.js";

const star = (on) => (on ? "★ Bookmarked" : "☆ Bookmark");

// `changed(annotation)` is told of every change that was kept.
export class Annotate {
  constructor(annotation, shell, changed) {
    Object.assign(this, { held: annotation, shell, changed, isEditing: false });
    this.saved = h("span", { class: "hint", role: "status" });
    this.element = h("div", { class: "annotate" });
    this.draw();
  }

  // Shown at once; sent one after the other, so that two quick changes do not undo each other.
  put(part) {
    this.held = { ...this.held, ...part };
    const { feature, label, vote, note, bookmarked } = this.held;
    this.draw();
    this.changed(this.held);
    this.saved.textContent = "…";
    this.sent = (this.sent ?? Promise.resolve()).then(async () => {
      try {
        await post("/api/annotations", { feature, label, vote, note, bookmarked });
        this.shell.notify(null);
        this.saved.textContent = "kept";
      } catch (error) {
        this.shell.notify(error);
        this.saved.textContent = "not kept";
      }
    });
    return this.sent;
  }

  bookmark = () => this.put({ bookmarked: !this.held.bookmarked });

  vote = (way) => this.put({ vote: this.held.vote === way ? 0 : way });

  edit(yes = !this.isEditing) {
    this.isEditing = yes;
    this.draw();
    if (yes) this.element.querySelector("input").select();
  }

  draw() {
    const { label, vote, note, bookmarked } = this.held;
    const button = (words, pressed, act, more = {}) => h("button", { type: "button", class: "button small", "aria-pressed": pressed ? "true" : "false", onclick: act, ...more }, words);
    const fields = () => {
      const words = h("input", { class: "field", name: "label", value: label, maxlength: 300, placeholder: "Your own words in place of the label" });
      const text = h("textarea", { class: "field", name: "note", rows: 3, maxlength: 4000, placeholder: "A note" });
      text.value = note;
      return h("form", { onsubmit: (e) => {
        e.preventDefault();
        this.isEditing = false;
        this.put({ label: words.value.trim(), note: text.value.trim() });
      } }, h("label", {}, "Label", words), h("label", {}, "Note", text),
      h("div", { class: "acts-row" }, h("button", { type: "submit", class: "button small" }, "Keep"), h("button", { type: "button", class: "button small", onclick: () => this.edit(false) }, "Cancel")));
    };
    show(this.element,
      h("div", { class: "acts-row" },
        button(star(bookmarked), bookmarked, this.bookmark, { title: "b" }),
        button("Good label", vote === 1, () => this.vote(1), { title: "+" }),
        button("Bad label", vote === -1, () => this.vote(-1), { title: "−" }),
        button("Edit…", this.isEditing, () => this.edit(), { title: "e" }), this.saved),
      this.isEditing ? fields() : note ? h("p", { class: "kept-note" }, note) : null);
  }

  key(name) {
    const acts = { b: this.bookmark, "+": () => this.vote(1), "-": () => this.vote(-1), e: () => this.edit() };
    acts[name]?.();
    return name in acts;
  }
}
