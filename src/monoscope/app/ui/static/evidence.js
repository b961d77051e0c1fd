// How far a feature's label may be trusted: its test, its specificity by level of activation, and other explanations.

import { get } from "./api.js";
import { interval, levelsChart } from "./charts.js";
import { h, show } from "./dom.js";
import { count, counted, fixed } from "./format.js";

export function evidence(found) {
  if (!found) return h("section", { class: "panel" }, h("h2", {}, "Evidence"), h("p", { class: "none" }, "No concept describes this feature well enough to be its label. Judge by the examples."));
  const baseline = found.kind === "context" ? found.baseline_f1 : null;
  const share = (words, value, extra = "") => [h("dt", {}, words), h("dd", { class: "num" }, fixed(value)), h("dd", {}, h("div", { class: `bar01 ${extra}`, vars: { v: value ?? 0 } }))];
  return h("section", { class: "panel" }, h("h2", {}, "Evidence"),
    h("div", { class: "evidence" },
      h("p", { class: "verdict", data: { trust: found.trust } }, found.trust_words),
      h("dl", {},
        h("dt", {}, "F1"), h("dd", { class: "num" }, h("b", {}, fixed(found.f1))), h("dd", { data: { tip: `95 % interval ${fixed(found.f1_low)} to ${fixed(found.f1_high)}` } }, interval(found.f1, found.f1_low, found.f1_high, { baseline })),
        share("precision", found.precision), share("recall", found.recall),
        baseline === null ? null : share("by tokens alone, F1", baseline, "baseline"),
        h("dt", {}, "counts as on"), h("dd", { class: "wide" }, `above ${fixed(found.threshold, 1)} of the maximum`),
        h("dt", {}, "support"), h("dd", { class: "wide" }, `${counted(found.support, "token")}, ${counted(found.documents, "document")}`)),
      h("p", { class: "concept" }, "Concept ", h("code", {}, found.concept))));
}

// Whether the label holds on weak firings as on strong ones: counted when the page is looked at.
export function levels(f, current) {
  if (!f.label) return null;
  const body = h("div", { class: "levels-room" }, h("p", { class: "none" }, "Counting on held-out documents…"));
  setTimeout(async () => {
    if (!current()) return;
    try {
      const found = await get(`/api/features/${f.id}/levels`);
      show(body, levelsChart(found), h("p", { class: "note" }, `${counted(found.counts.reduce((a, b) => a + b, 0), "token")} of ${counted(found.documents, "test document")}, in ten even levels from 0 to the maximum. Dashed: where the feature is silent.`));
    } catch (error) {
      show(body, h("p", { class: "none" }, error.message));
    }
  }, 350); // not for a feature that is only passed on the way to another
  return h("section", { class: "panel" }, h("h2", {}, "Specificity by level of activation"), h("p", { class: "note" }, "On what share of the tokens the label holds, by how strongly the feature fires there."), body);
}

function scoreLine(s) {
  const low = Math.min(0, s.value ?? 0, s.low ?? 0, ...Object.values(s.controls));
  const place = (x) => (x === null ? null : (x - low) / (1 - low));
  const best = Object.entries(s.controls).sort((a, b) => b[1] - a[1])[0];
  const value = s.value === null ? h("dd", { class: "wide none" }, s.why || "does not apply") : [
    h("dd", { class: "num" }, h("b", {}, fixed(s.value))),
    h("dd", { data: { tip: [s.low === null ? "" : `95 % interval ${fixed(s.low)} to ${fixed(s.high)}`, `${count(s.n)} judged`, ...Object.entries(s.controls).map(([name, v]) => `${name.replaceAll("_", " ")} ${fixed(v)}`)].filter(Boolean).join(" · ") } },
      interval(place(s.value), place(s.low), place(s.high), { baseline: best ? place(best[1]) : null }))];
  return [h("dt", {}, s.scorer.replaceAll("_", " ")), value];
}

// What others say of the feature, and how well each did where it was tested.
export function explanations(f) {
  if (!f.explanations.length) return null;
  return h("section", { class: "panel" }, h("h2", {}, "Other explanations"),
    h("p", { class: "note" }, "Each beside its tests; the orange tick is the best control, which knows nothing of the explanation."),
    f.explanations.map((e) => h("div", { class: "explanation" },
      h("p", { class: "eyebrow" }, e.explainer),
      e.fires_on ? h("p", { class: "said" }, e.fires_on) : null,
      e.promotes ? h("p", { class: "said" }, h("span", { class: "eyebrow" }, "makes the model say "), e.promotes) : null,
      h("p", { class: "verdict" }, e.verdict),
      e.scores.length ? h("div", { class: "evidence" }, h("dl", {}, e.scores.map(scoreLine))) : null)));
}
