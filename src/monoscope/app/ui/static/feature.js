// One feature: what it means and how well that is tested, what it fires on, what it does, what is near it.

import { get } from "./api.js";
import { activationHistogram, interval } from "./charts.js";
import { h, show, skeleton } from "./dom.js";
import { KINDS, count, density, fixed, nameOf, oneIn, short, signed } from "./format.js";
import { trail } from "./features.js";
import { concordance, label, literal, passage } from "./tokens.js";

const WIDER = { before: 160, after: 100 };

function head(f) {
  const facts = [
    ["fires on", `${density(f.density)} of tokens, ${oneIn(f.density)}`],
    ["maximum", short(f.max)],
    ["mean when active", short(f.mean)],
    f.loss_effect === null ? null : ["loss when removed", `${signed(f.loss_effect)} nats`],
  ].filter(Boolean);
  return h("header", { class: "feature-head" },
    h("p", { class: "eyebrow made" }, h("span", {}, `Feature ${f.id}`), f.label ? h("span", {}, `${KINDS[f.label.kind]} label`) : null),
    f.label ? h("h1", {}, label(f.label.words, 1)) : h("h1", { class: "unlabelled" }, "no label"),
    h("p", { class: "facts-line" }, facts.map(([name, value]) => h("span", {}, `${name} `, h("b", {}, value)))));
}

function evidence(found) {
  if (!found) return h("section", { class: "panel" }, h("h2", {}, "Evidence"), h("p", { class: "none" }, "No concept describes this feature well enough to be its label. Judge by the examples."));
  const baseline = found.kind === "context" ? found.baseline_f1 : null;
  const share = (words, value, extra = "") => [h("dt", {}, words), h("dd", { class: "num" }, fixed(value)), h("dd", {}, h("div", { class: `bar01 ${extra}`, vars: { v: value ?? 0 } }))];
  return h("section", { class: "panel" }, h("h2", {}, "Evidence"),
    h("div", { class: "evidence" },
      h("p", { class: "verdict", data: { trust: found.trust } }, found.trust_words),
      h("dl", {},
        h("dt", {}, "F1"), h("dd", { class: "num" }, h("b", {}, fixed(found.f1))), h("dd", { data: { tip: `95 % interval ${fixed(found.f1_low)} to ${fixed(found.f1_high)}` } }, interval(found.f1, found.f1_low, found.f1_high, { baseline })),
        share("precision", found.precision), share("recall", found.recall),
        baseline === null ? null : share("best token list, F1", baseline, "baseline"),
        h("dt", {}, "counts as on"), h("dd", { class: "wide" }, `above ${fixed(found.threshold, 1)} of the maximum`),
        h("dt", {}, "support"), h("dd", { class: "wide" }, `${count(found.support)} tokens, ${count(found.documents)} documents`)),
      h("p", { class: "concept" }, "Concept ", h("code", {}, found.concept))));
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
      show(more, h("p", { class: "where" }, h("span", {}, wide.name), h("span", {}, `token ${count(e.position + 1)} of ${count(wide.length)}`), e.loss_effect === null ? null : h("span", {}, `loss without the feature ${signed(e.loss_effect)} nats`)), passage(wide.tokens, e.position, f.max));
    } catch (error) {
      show(more, h("div", { class: "problem", role: "alert" }, h("span", {}, h("strong", {}, error.message), " ", error.fix ?? "")));
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

function examples(f) {
  const groups = f.groups.filter((g) => g.examples.length);
  return h("section", { class: "panel" }, h("h2", {}, "Where it fires"),
    h("p", { class: "note" }, "Each line is centred on one firing; the colour is the activation, the last columns its value and the change in loss when the feature is removed. Open a line for more text."),
    groups.length ? groups.map((g) => h("div", { class: "group" }, h("h3", {}, groupName(g)), g.examples.map((e) => example(f, e)))) : h("p", { class: "none" }, "It never fired on this text."));
}

function bars(items, down = false) {
  const top = Math.max(...items.map((t) => Math.abs(t.weight ?? 0)), 1e-9);
  return h("div", { class: "weights" }, items.map((t) => h("div", { class: down ? "down" : "" }, literal(t.text), h("span", { class: "bar", vars: { v: (Math.abs(t.weight ?? 0) / top).toFixed(3) } }), h("span", { class: "num" }, fixed(t.weight)))));
}

function panel(title, note, content) {
  return h("section", { class: "panel" }, h("h2", {}, title), note ? h("p", { class: "note" }, note) : null, content);
}

const only = (items, make) => (items.length ? make() : null);

function aside(f) {
  return h("aside", { "aria-label": "What it does and what is near it" },
    only(f.groups, () => panel("Activations", `${count(f.n_active)} active tokens; heights are logarithmic.`, activationHistogram(f.histogram, f.quantiles))),
    only(f.promoted, () => panel("Promotes", "Next tokens whose logits its direction raises most.", bars(f.promoted))),
    only(f.suppressed, () => panel("Suppresses", "Those it lowers most.", bars(f.suppressed, true))),
    only(f.neurons, () => panel("Correlated neurons", "Pearson correlation over all tokens.", h("div", { class: "links" }, f.neurons.map((n) => h("div", {}, h("span", {}, `neuron ${n.index}`), h("span", { class: "num" }, fixed(n.value))))))),
  );
}

function lists(f) {
  const links = (items) => h("div", { class: "links" }, items.map((o) => h("div", {}, h("a", { href: `/feature/${o.id}`, title: nameOf(o) }, h("span", { class: "id" }, `#${o.id}`), label(o.label, o.label_f1)), h("span", { class: "num" }, fixed(o.value)))));
  return h("div", { class: "lists" },
    only(f.top_tokens_by_mean, () => panel("Strongest on", "Tokens by mean activation wherever they occur.", bars(f.top_tokens_by_mean))),
    only(f.top_tokens_by_mass, () => panel("Mostly on", "Tokens by their share of all its activation.", bars(f.top_tokens_by_mass))),
    only(f.neighbours, () => panel("Similar directions", "By cosine of what they write.", links(f.neighbours))),
    only(f.cofiring, () => panel("Fires together with", "By phi, the correlation of firing.", links(f.cofiring))),
  );
}

async function step(shell, id, by) {
  if (trail.query && trail.total) {
    const index = trail.index + by;
    if (index < 0 || index >= trail.total) return;
    const found = await get("/api/features", { ...trail.query, offset: index, limit: 1 });
    if (found.rows.length) {
      trail.index = index;
      await shell.go(`/feature/${found.rows[0].id}`, { replace: true });
    }
  } else if (id + by >= 0) {
    await shell.go(`/feature/${id + by}`, { replace: true });
  }
}

export async function open(root, { parts }, shell, visit) {
  const id = Number(parts[0]);
  const move = (by) => step(shell, id, by).catch((error) => shell.notify(error));
  const back = () => shell.go(trail.url);
  const pager = h("nav", { class: "pager", "aria-label": "Features" },
    h("a", { class: "back", href: trail.url }, "← All features"),
    trail.query ? h("span", { class: "hint" }, `${count(trail.index + 1)} of ${count(trail.total)}`) : null,
    h("button", { type: "button", class: "button", "aria-label": "Previous feature (k)", onclick: () => move(-1) }, "↑"),
    h("button", { type: "button", class: "button", "aria-label": "Next feature (j)", onclick: () => move(1) }, "↓"));
  const moves = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 };
  visit.hold({
    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select, pre")) return false;
      if (event.key === "Escape") back();
      else if (event.key in moves) move(moves[event.key]);
      else return false;
      return true;
    },
  });
  shell.title(`Feature ${id}`);
  show(root, pager, skeleton(20, 46, 24, 180, 420));
  let f;
  try {
    f = await get(`/api/features/${id}`);
  } catch (error) {
    if (visit.current()) show(root, pager, shell.problem(error, () => shell.go(`/feature/${id}`, { replace: true })));
    return;
  }
  if (!visit.current()) return;
  shell.title(f.label ? `${f.label.words} · #${f.id}` : `Feature ${f.id}`);
  show(root, pager, head(f), h("div", { class: "split" }, h("div", {}, evidence(f.label), examples(f), lists(f)), aside(f)));
}
