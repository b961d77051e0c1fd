// One feature: what it means and how well that is tested, what it fires on, what it does, what is near it.

import { get } from "./api.js";
import { Annotate } from "./annotate.js";
import { activationHistogram, logitHistogram } from "./charts.js";
import { h, show, skeleton } from "./dom.js";
import { KINDS, count, density, fixed, nameOf, oneIn, short, signed } from "./format.js";
import { evidence, explanations, levels } from "./evidence.js";
import { examples } from "./examples.js";
import { trail } from "./features.js";
import { label, literal } from "./tokens.js";

// A person's own label stands before the tested one, and says that it is theirs.
function title(f, annotation) {
  const own = annotation?.label;
  const tested = f.label ? h("h1", {}, label(f.label.words, 1)) : h("h1", { class: "unlabelled" }, "no label");
  return h("div", { class: "own-title" }, own ? [h("h1", {}, label(own, 1)), h("p", { class: "note" }, "Your label. ", f.label ? ["Tested label: ", label(f.label.words, f.label.f1)] : "There is no tested one.")] : tested);
}

function head(f, annotate) {
  const facts = [
    ["fires on", `${density(f.density)} of tokens, ${oneIn(f.density)}`],
    ["maximum", short(f.max)],
    ["mean when active", short(f.mean)],
    f.loss_effect === null ? null : ["loss when removed", `${signed(f.loss_effect)} nats`],
  ].filter(Boolean);
  return h("header", { class: "feature-head" },
    h("p", { class: "eyebrow made" }, h("span", {}, `Feature ${f.id}`), f.label ? h("span", {}, `${KINDS[f.label.kind]} label`) : null),
    title(f, f.annotation),
    h("p", { class: "facts-line" }, facts.map(([name, value]) => h("span", {}, `${name} `, h("b", {}, value)))),
    annotate?.element);
}

function bars(items, down = false) {
  const top = Math.max(...items.map((t) => Math.abs(t.weight ?? 0)), 1e-9);
  return h("div", { class: "weights" }, items.map((t) => h("div", { class: down ? "down" : "" }, literal(t.text), h("span", { class: "bar", vars: { v: (Math.abs(t.weight ?? 0) / top).toFixed(3) } }), h("span", { class: "num" }, fixed(t.weight)))));
}

function panel(title, note, content) {
  return h("section", { class: "panel" }, h("h2", {}, title), note ? h("p", { class: "note" }, note) : null, content);
}

const only = (items, make) => (items.length ? make() : null);

const quantiles = (f) => h("dl", { class: "quantiles", "aria-label": "Quantiles of the active tokens’ values" }, Object.entries(f.quantiles).map(([q, x]) => h("div", {}, h("dt", {}, `${+(100 * q).toPrecision(3)} %`), h("dd", {}, short(x)))));

// What the feature's direction does to every logit, and which neurons it is made of; computed when it is looked at.
function writes(id, current) {
  const box = h("div", { class: "writes" }, panel("Effect on all logits", "Logits per unit of activation; heights are logarithmic.", h("div", { class: "writes-room" })));
  (async () => {
    try {
      const { logits, neurons, coordinates } = await get(`/api/features/${id}/direction`);
      if (!current()) return;
      const share = coordinates[0]?.share ?? 0;
      show(box,
        logits ? panel("Effect on all logits", "Logits per unit of activation over the vocabulary; heights are logarithmic.", logitHistogram(logits)) : null,
        panel(neurons ? "Neurons it writes to" : "Its largest coordinates", `The first holds ${fixed(100 * share, 0)} % of the direction’s absolute weight${neurons && share > 0.5 ? ": nearly a single neuron" : ""}.`,
          h("div", { class: "links" }, coordinates.map((c) => h("div", { class: "three" }, h("span", {}, `${neurons ? "neuron" : "coordinate"} ${c.index}`), h("span", { class: "num" }, fixed(c.weight)), h("span", { class: "num faint" }, `${fixed(100 * c.share, 1)} %`))))));
    } catch (error) {
      if (current()) show(box, panel("Effect on all logits", null, h("p", { class: "none" }, error.message)));
    }
  })();
  return box;
}

function aside(f, current) {
  return h("aside", { "aria-label": "What it does and what is near it" },
    only(f.groups, () => panel("Activations", `${count(f.n_active)} active tokens; heights are logarithmic.`, [activationHistogram(f.histogram, f.quantiles), quantiles(f)])),
    f.model_at_hand && f.n_active ? writes(f.id, current) : null,
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
  let annotate = null;
  const moves = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 };
  visit.hold({
    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select, pre")) return false;
      if (event.key === "Escape") back();
      else if (event.key in moves) move(moves[event.key]);
      else return annotate?.key(event.key) ?? false;
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
  annotate = f.annotation && new Annotate(f.annotation, shell, (now) => heading.querySelector(".own-title").replaceWith(title(f, now)));
  const heading = head(f, annotate);
  shell.title(f.label ? `${f.label.words} · #${f.id}` : `Feature ${f.id}`);
  show(root, pager, heading, h("div", { class: "split" }, h("div", {}, evidence(f.label), levels(f, visit.current), explanations(f), examples(f), lists(f)), aside(f, visit.current)));
}
