// Blind rating: one feature at a time, unnamed; a rubric; and what it was only once the rating is kept.

import { get, post } from "./api.js";
import { h, show, skeleton } from "./dom.js";
import { count, fixed } from "./format.js";
import { concordance, label, literal } from "./tokens.js";

const WORDS = {
  confidence: ["Confidence in an interpretation", ["none at all", "a guess", "fairly sure", "certain"]],
  activations: ["Consistency of the activations with it", ["no pattern", "few fit", "about half fit", "most fit", "nearly all fit", "all fit"]],
  logits: ["Consistency of the effects on the logits with it", ["none fits", "few fit", "most fit", "all fit"]],
  specificity: ["Specificity of the interpretation", ["could be anything", "broad", "quite specific", "as specific as can be"]],
};
const part = (name) => (name === "top" ? "Strongest" : `${name.replace("-", " to ")} percentile`);

const tokens = (items, title) => h("div", {}, h("h3", {}, title), items.length ? h("p", { class: "token-row" }, items.map((t) => literal(t.text))) : h("p", { class: "none" }, "Not known."));

function scale(name, top, change) {
  const [title, steps] = WORDS[name];
  const buttons = steps.slice(0, top + 1).map((words, i) => h("label", { class: "step" }, h("input", { type: "radio", name, value: i, required: true, onchange: change }), h("span", {}, h("b", {}, i), ` ${words}`)));
  return h("fieldset", {}, h("legend", {}, title), h("div", { class: "steps-of" }, buttons));
}

function reportOf({ kinds, names }) {
  const rows = Object.entries(kinds);
  if (!rows.length) return null;
  const most = 14;
  const line = ([kind, { n, totals, means }]) => {
    const { value, low, high } = means.total;
    const top = Math.max(...totals);
    return h("tr", {}, h("th", { scope: "row" }, names[kind] ?? kind), h("td", {}, count(n)),
      h("td", {}, h("b", {}, fixed(value, 1)), low === null ? "" : ` (${fixed(low, 1)} to ${fixed(high, 1)})`),
      h("td", {}, h("span", { class: "spark", role: "img", "aria-label": `Totals from 0 to ${most}: ${totals.join(", ")}` }, totals.map((held, i) => h("span", { vars: { v: held / top }, data: { tip: `${count(held)} rated ${i}` } })))));
  };
  return h("section", { class: "panel" }, h("h2", {}, "Ratings so far, by kind"),
    h("p", { class: "note" }, "Mean total of at most 14 with its 95 % interval over ratings, and how often each total from 0 to 14 was given."),
    h("table", { class: "counts ratings" }, h("thead", {}, h("tr", {}, ["Kind", "rated", "mean total", "totals"].map((words) => h("th", { scope: "col" }, words)))), h("tbody", {}, rows.map(line))));
}

export async function open(root, _, shell, visit) {
  shell.title("Rate");
  show(root, skeleton(46, 60, 300, 200));
  const report = h("div");
  const refresh = async () => show(report, reportOf(await get("/api/rating/report")));

  async function following() {
    const found = await get("/api/rating");
    await refresh();
    if (!visit.current()) return;
    const head = h("header", { class: "reading-head" }, h("h1", {}, "Rate blind"), h("p", { class: "lead" }, "Features of this dictionary and of its controls, unnamed and in random order. What each one is, is told once you have rated it."),
      found.missing.length ? h("p", { class: "note" }, `Without ${found.missing.map((name) => name.replaceAll("_", " ")).join(" and ")}: this run has no catalogue of ${found.missing.length > 1 ? "them" : "it"}.`) : null);
    if (found.item === null) return show(root, head, h("p", { class: "empty-state" }, "There is nothing left to rate."), report);
    const told = h("div", { role: "status" });
    const total = h("span", { class: "num" });
    const update = () => {
      const chosen = [...form.querySelectorAll("input:checked")];
      total.textContent = chosen.length === Object.keys(found.scales).length ? `${chosen.reduce((sum, e) => sum + Number(e.value), 0)} of 14` : "";
    };
    const words = h("input", { class: "field", name: "interpretation", maxlength: 500, placeholder: "It fires on…" });
    const form = h("form", { class: "rubric", onsubmit: (e) => {
      e.preventDefault();
      keep();
    } }, h("label", {}, "Your interpretation", words), Object.entries(found.scales).map(([name, top]) => scale(name, top, update)),
    h("div", { class: "acts-row" }, h("button", { type: "submit", class: "button" }, "Keep rating"), total, told));

    async function keep() {
      const scores = Object.fromEntries([...form.querySelectorAll("input:checked")].map((e) => [e.name, Number(e.value)]));
      form.querySelector("button").disabled = true;
      try {
        const shown = await post("/api/rating", { item: found.item, interpretation: words.value.trim(), ...scores });
        shell.notify(null);
        for (const input of form.elements) input.disabled = true;
        const kinds = (await get("/api/rating/report")).names;
        show(told, h("span", {}, "It was ", h("b", {}, `#${shown.feature} of ${kinds[shown.kind] ?? shown.kind.replaceAll("_", " ")}`), shown.label ? [": ", label(shown.label, 1)] : ", without a label", ". "),
          h("button", { type: "button", class: "button", onclick: () => following() }, "Next"));
        told.querySelector("button").focus();
        await refresh();
      } catch (error) {
        form.querySelector("button").disabled = false;
        shell.notify(error);
      }
    }

    show(root, head, h("p", { class: "hint-line" }, `${count(found.rated)} rated so far`),
      h("div", { class: "split" },
        h("section", { class: "panel" }, h("h2", {}, "Where it fires"), found.groups.map((g) => h("div", { class: "group" }, h("h3", {}, part(g.name)), g.examples.map((e) => h("div", { class: "example still" }, concordance(e, 1)))))),
        h("aside", { "aria-label": "Rating" }, h("section", { class: "panel" }, h("h2", {}, "What it does to the next token"), tokens(found.promoted, "Raises"), tokens(found.suppressed, "Lowers")), h("section", { class: "panel" }, h("h2", {}, "Rating"), form))), report);
    window.scrollTo(0, 0);
  }

  await following();
}
