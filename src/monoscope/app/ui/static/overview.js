// Overview: the dictionary's health beside its controls, and what is best understood in it.

import { get } from "./api.js";
import { comparison, densityHistogram } from "./charts.js";
import { h, show, skeleton } from "./dom.js";
import { KINDS, count, density, fixed } from "./format.js";
import { excerpt, label } from "./tokens.js";

function title(o) {
  const facts = [o.model, o.where, o.architecture.replaceAll("_", " "), o.name].filter(Boolean);
  return h("header", { class: "title" },
    h("p", { class: "eyebrow made" }, facts.map((fact) => h("span", {}, fact))),
    h("h1", {}, `${count(o.n_features)} directions that ${o.model.split("/").filter(Boolean).pop() ?? "the model"} thinks in`),
    h("p", { class: "lead" }, `Read from ${count(o.n_tokens)} tokens of ${count(o.n_documents)} documents the dictionary never saw. ${count(o.alive)} features are alive, ${count(o.dead)} never fired.`));
}

function metric(o, { name, words, note, digits }) {
  const { evaluation } = o;
  const own = evaluation.metrics?.[name];
  if (!own || own.value === null) return null;
  const rows = [{ label: "this dictionary", own: true, ...own }];
  for (const [control, metrics] of Object.entries(evaluation.controls ?? {})) {
    if (metrics[name]) rows.push({ label: o.controls[control] ?? control, ...metrics[name] });
  }
  const values = rows.flatMap((r) => [r.value, r.low, r.high]).filter((v) => v !== null && v !== undefined);
  const from = name === "dead_fraction" ? 0 : Math.min(0, ...values);
  const to = name.startsWith("loss") ? Math.max(1, ...values) : Math.max(...values) * 1.04 || 1;
  const between = own.low === null || own.low === undefined ? "" : `95 %: ${fixed(own.low, digits)} to ${fixed(own.high, digits)}`;
  return h("article", { class: "metric" }, h("h3", {}, words), h("p", { class: "value" }, fixed(own.value, digits), h("small", {}, between)),
    h("p", { class: "note" }, note), comparison(words, rows, { digits, from, to }));
}

function health(o) {
  const metrics = o.evaluation ? o.headlines.map((m) => metric(o, m)).filter(Boolean) : [];
  return h("section", { class: "section" }, h("header", {}, h("h2", {}, "Health, beside its controls"), h("p", { class: "note" }, "Held-out text; whiskers are 95 % intervals over documents.")),
    metrics.length ? h("div", { class: "metrics" }, metrics) : h("p", { class: "none" }, "This catalogue was made without an evaluation. “monoscope evaluate” adds one."));
}

function counts(labels) {
  const line = (kind, words) => h("tr", {}, h("th", { scope: "row" }, h("a", { href: `/features?kind=${kind}` }, words)), h("td", {}, count(labels[kind].all)), h("td", {}, count(labels[kind].f1_50)), h("td", {}, count(labels[kind].f1_80)));
  return h("table", { class: "counts" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Label"), h("th", { scope: "col" }, "all"), h("th", { scope: "col" }, "F1 ≥ 0.5"), h("th", { scope: "col" }, "F1 ≥ 0.8"))),
    h("tbody", {}, line("context", "Contextual"), line("token", "Token")));
}

function picture(o) {
  return h("section", { class: "section two" },
    h("div", {}, h("header", { class: "panel" }, h("h2", {}, "How often features fire"), h("p", { class: "note" }, "Features by density: the share of tokens on which each is active, on a logarithmic axis.")), densityHistogram(o.density_histogram)),
    h("div", {}, h("header", { class: "panel" }, h("h2", {}, "What has a tested label"), h("p", { class: "note" }, "A token label lists at most 8 tokens. A contextual label must beat the best such list.")), counts(o.labels)));
}

function card(row) {
  return h("article", { class: "card" },
    h("h3", {}, h("a", { href: `/feature/${row.id}` }, label(row.label, row.label_f1))),
    row.example ? excerpt(row.example, row.max) : null,
    h("p", { class: "facts" }, h("span", { class: `badge ${row.label_kind}` }, KINDS[row.label_kind]), h("span", {}, `F1 ${fixed(row.label_f1)} (${fixed(row.label_f1_low)} to ${fixed(row.label_f1_high)})`), h("span", {}, density(row.density)), h("span", {}, `#${row.id}`)));
}

function best(rows) {
  return h("section", { class: "section" }, h("header", {}, h("h2", {}, "Best-tested features"), h("p", { class: "note" }, h("a", { href: "/features?sort=label_f1_low" }, "All features by F1"))),
    rows.length ? h("div", { class: "cards" }, rows.map(card)) : h("p", { class: "none" }, "No feature has a label yet. “monoscope explain” writes them."));
}

export async function open(root, _, shell, visit) {
  shell.title("");
  show(root, skeleton(20, 48, 60, 320, 190, 360));
  const [o, b] = await Promise.all([get("/api/overview"), get("/api/best", { limit: 12 })]);
  if (visit.current()) show(root, title(o), health(o), picture(o), best(b.rows));
}
