// A feature's examples: one line each, opened to a passage; on demand each token underlined by what the feature does to it.

import { get, post } from "./api.js";
import { h, show } from "./dom.js";
import { count, short, signed } from "./format.js";
import { concordance, passage } from "./tokens.js";

const WIDER = { before: 160, after: 100 };
let underlined = false; // kept from one feature to the next

const problem = (error) => h("div", { class: "problem", role: "alert" }, h("span", {}, h("strong", {}, error.message), " ", error.fix ?? ""));
const spanOf = (e) => [e.document, e.tokens[0].position, e.tokens.at(-1).position + 1];

// Writes each token's effect on the loss into it.
async function feel(f, examples, signal) {
  const { effects } = await post("/api/effects", { feature: f.id, places: examples.map(spanOf) }, signal);
  examples.forEach((e, i) => e.tokens.forEach((t, j) => (t.effect = effects[i][j])));
}

function example(f, e) {
  const more = h("div", { class: "more", hidden: true });
  const toggle = async (event) => {
    const button = event.currentTarget;
    const isOpen = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", isOpen);
    more.hidden = !isOpen;
    if (!isOpen || more.dataset.done) return;
    show(more, passage(e.tokens, e.position, f.max));
    try {
      const wide = await get("/api/context", { document: e.document, position: e.position, feature: f.id, ...WIDER });
      more.dataset.done = "1";
      const draw = () => show(more,
        h("p", { class: "where" }, h("span", {}, wide.name), h("span", {}, `token ${count(e.position + 1)} of ${count(wide.length)}`), e.loss_effect === null ? null : h("span", {}, `loss of the next token without the feature ${signed(e.loss_effect)} nats`)),
        passage(wide.tokens, e.position, f.max));
      draw();
      if (!f.model_at_hand) return;
      await feel(f, [{ document: e.document, tokens: wide.tokens }]);
      draw();
    } catch (error) {
      show(more, problem(error));
    }
  };
  return h("div", { class: "example" },
    h("button", { type: "button", "aria-expanded": "false", onclick: toggle }, concordance(e, f.max), h("span", { class: "num value" }, short(e.value)), h("span", { class: "num value loss" }, e.loss_effect === null ? "" : signed(e.loss_effect, 2))),
    more);
}

function groupName({ name, interval: bounds }) {
  const range = bounds.length ? ` · ${short(bounds[0])} to ${short(bounds[1])}` : "";
  return name === "top" ? "Strongest firings" : `${name.replace("-", " to ")} percentile${range}`;
}

export function examples(f) {
  const groups = f.groups.filter((g) => g.examples.length);
  const lists = h("div", {});
  const draw = () => show(lists, groups.map((g) => h("div", { class: "group" }, h("h3", {}, groupName(g)), g.examples.map((e) => example(f, e)))));
  const key = h("p", { class: "note effects-key", hidden: true }, h("span", { class: "tok helped", vars: { e: 0.5 } }, "solid"), ": predicted worse without the feature; ", h("span", { class: "tok hindered", vars: { e: 0.5 } }, "dotted"), ": better. Thicker is more, up to 1 nat.");
  const failed = h("div");
  const button = h("button", { type: "button", class: "button small", "aria-pressed": "false" }, "Underline effects on the loss");
  const underline = async (yes) => {
    underlined = yes;
    button.setAttribute("aria-pressed", yes);
    key.hidden = !yes;
    if (!yes) groups.forEach((g) => g.examples.forEach((e) => e.tokens.forEach((t) => delete t.effect)));
    button.disabled = yes;
    try {
      if (yes) await feel(f, groups.flatMap((g) => g.examples));
      show(failed);
    } catch (error) {
      show(failed, problem(error));
    }
    button.disabled = false;
    draw();
  };
  button.addEventListener("click", () => underline(button.getAttribute("aria-pressed") !== "true"));
  draw();
  if (underlined && f.model_at_hand && groups.length) underline(true);
  return h("section", { class: "panel" }, h("h2", {}, "Where it fires"),
    h("p", { class: "note" }, "Each line is centred on one firing; the colour is the activation, the last columns its value and the change in the next token’s loss when the feature is removed there. Open a line for more text."),
    f.model_at_hand && groups.length ? h("div", { class: "acts-row" }, button, key) : null, failed,
    groups.length ? lists : h("p", { class: "none" }, "It never fired on this text."));
}
