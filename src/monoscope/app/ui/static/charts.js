// The few figures the pages need, in SVG. Positions are in per cent of the figure's width, so that text never scales.

import { h, s } from "./dom.js";
import { counted, density, fixed, short, signed } from "./format.js";

const percent = (x) => `${(100 * x).toFixed(2)}%`;

// A value with its interval on a track from 0 to 1.
export function interval(value, low, high, { baseline = null } = {}) {
  if (value === null || value === undefined) return s("svg", { class: "interval", "aria-hidden": "true" });
  return s(
    "svg",
    { class: "interval", height: 12, "aria-hidden": "true" },
    s("line", { class: "track", x1: "0", x2: "100%", y1: 6, y2: 6 }),
    baseline === null ? null : s("line", { class: "baseline", x1: percent(baseline), x2: percent(baseline), y1: 1, y2: 11 }),
    s("line", { class: "whisker", x1: percent(low ?? value), x2: percent(high ?? value), y1: 6, y2: 6 }),
    s("circle", { class: "dot", cx: percent(value), cy: 6, r: 3.5 }),
  );
}

// One metric for the dictionary and its controls on a common axis.
export function comparison(name, rows, { digits, from, to }) {
  const place = (x) => Math.max(0, Math.min(1, (x - from) / (to - from || 1)));
  const line = ({ label, value, low, high, own }) => {
    const known = value !== null && value !== undefined;
    const marks = known
      ? [
          s("line", { class: "whisker", x1: percent(place(low ?? value)), x2: percent(place(high ?? value)), y1: 8, y2: 8 }),
          s("circle", { class: "dot", cx: percent(place(value)), cy: 8, r: own ? 4.5 : 3.5 }),
        ]
      : [];
    return h(
      "div",
      { class: own ? "own" : "control", role: "row" },
      h("span", { role: "rowheader" }, label),
      s("svg", { height: 16, "aria-hidden": "true" }, s("line", { class: "track", x1: "0", x2: "100%", y1: 8, y2: 8 }), marks),
      h("span", { class: "num", role: "cell", data: known && low !== null ? { tip: `95 % interval ${fixed(low, digits)} to ${fixed(high, digits)}` } : null }, known ? fixed(value, digits) : "–"),
    );
  };
  return h("div", { class: "comparison", role: "table", "aria-label": `${name}, beside its controls` }, rows.map(line),
    h("div", { class: "axis", "aria-hidden": "true" }, h("span"), h("span", { class: "ends" }, h("span", {}, short(from)), h("span", {}, short(to))), h("span")));
}

function bars(edges, counts, place, height, tip, scale) {
  const top = Math.max(...counts.map(scale), 1e-9);
  return counts.map((n, i) => {
    if (!n) return null;
    const [x, right] = [place(edges[i]), place(edges[i + 1])];
    const tall = Math.max(1.5, (scale(n) / top) * height);
    return s("rect", { x: percent(x), width: percent(Math.max(0.002, right - x - 0.0015)), y: height - tall, height: tall, data: { tip: tip(i) } });
  });
}

const tick = (x, height, text, anchor = "middle") => [
  s("line", { class: "tick", x1: percent(x), x2: percent(x), y1: height, y2: height + 4 }),
  s("text", { x: percent(x), y: height + 17, "text-anchor": anchor }, text),
];

const anchorAt = (x) => (x < 0.04 ? "start" : x > 0.96 ? "end" : "middle");

// How many features fire how often; the horizontal axis is logarithmic.
export function densityHistogram({ edges, counts }, height = 150) {
  if (!edges.length) return h("p", { class: "none" }, "No feature fires on this text.");
  const [low, high] = [Math.log10(edges[0]), Math.log10(edges.at(-1))];
  const place = (x) => (Math.log10(x) - low) / (high - low);
  const decades = [];
  for (let power = Math.ceil(low - 1e-9); power <= high + 1e-9; power++) decades.push(10 ** power);
  const tip = (i) => `${counted(counts[i], "feature")} firing on ${density(edges[i])} to ${density(edges[i + 1])} of tokens`;
  const name = (x) => (x >= 1e-4 ? `${+(100 * x).toPrecision(1)} %` : `1 in ${short10(1 / x)}`);
  return s("svg", { class: "histogram", height: height + 22, role: "img", "aria-label": `Histogram of feature densities, from ${density(edges[0])} to ${density(edges.at(-1))}` },
    bars(edges, counts, place, height, tip, (n) => n),
    s("line", { class: "base", x1: 0, x2: "100%", y1: height, y2: height }),
    decades.map((x) => tick(place(x), height, name(x), anchorAt(place(x)))));
}

const short10 = (n) => (n >= 1e6 ? `${Math.round(n / 1e6)} M` : `${Math.round(n / 1e3)} k`);

const MARKED = ["0.5", "0.9", "0.99"];

// A feature's activations; heights are logarithmic, because the strong end is rare and what matters.
export function activationHistogram({ edges, counts }, quantiles, height = 110) {
  const [low, high] = [edges[0], edges.at(-1)];
  const place = (x) => (x - low) / (high - low || 1);
  const tip = (i) => `${counted(counts[i], "token")} between ${short(edges[i])} and ${short(edges[i + 1])}`;
  const marks = Object.entries(quantiles).filter(([q]) => MARKED.includes(q)).map(([q, x]) => s("g", { class: "mark", data: { tip: `${100 * q} % of the active tokens are below ${short(x)}` } },
    s("line", { x1: percent(place(x)), x2: percent(place(x)), y1: 14, y2: height + 14 }),
    s("text", { x: percent(place(x)), y: 10, "text-anchor": anchorAt(place(x)) }, `${100 * q} %`)));
  return s("svg", { class: "histogram activations", height: height + 36, role: "img", "aria-label": `Histogram of activations from ${short(low)} to ${short(high)}` },
    s("g", { transform: "translate(0 14)" },
      bars(edges, counts, place, height, tip, (n) => Math.log1p(n)),
      s("line", { class: "base", x1: 0, x2: "100%", y1: height, y2: height }),
      tick(0, height, short(low), "start"), tick(1, height, short(high), "end")),
    marks);
}

// On what share of the tokens of each level of activation a label holds; the dashed line is the share where it is silent.
export function levelsChart({ edges, counts: n, fraction, low, high, silent }, height = 120) {
  const wide = 1 / n.length;
  const y = (share) => height * (1 - share) + 8;
  const columns = n.map((held, i) => {
    if (!held || fraction[i] === null) return null;
    const whisker = low[i] === null ? null : s("line", { class: "whisker", x1: percent((i + 0.5) * wide), x2: percent((i + 0.5) * wide), y1: y(low[i]), y2: y(high[i]) });
    const between = low[i] === null ? "" : `, 95 %: ${fixed(100 * low[i], 0)} to ${fixed(100 * high[i], 0)} %`;
    const tip = `holds on ${fixed(100 * fraction[i], 0)} % of ${counted(held, "token")} between ${short(edges[i])} and ${short(edges[i + 1])}${between}`;
    return s("g", { data: { tip } },
      s("rect", { class: "room", x: percent(i * wide + 0.004), width: percent(wide - 0.008), y: 8, height }),
      s("rect", { x: percent(i * wide + 0.004), width: percent(wide - 0.008), y: Math.min(y(fraction[i]), height + 6.5), height: Math.max(1.5, height * fraction[i]) }), whisker);
  });
  const quiet = silent === null ? null : s("g", { class: "mark", data: { tip: `holds on ${fixed(100 * silent, 1)} % of the tokens where the feature is silent` } }, s("line", { x1: 0, x2: "100%", y1: y(silent), y2: y(silent) }));
  const said = n.map((held, i) => (held && fraction[i] !== null ? `${fixed(100 * fraction[i], 0)} % up to ${short(edges[i + 1])}` : null)).filter(Boolean).join(", ");
  return s("svg", { class: "histogram levels", height: height + 30, role: "img", "aria-label": `Share of tokens on which the label holds, by level: ${said}` },
    columns, s("line", { class: "base", x1: 0, x2: "100%", y1: height + 8, y2: height + 8 }), quiet,
    s("g", { transform: `translate(0 8)` }, tick(0, height, short(edges[0]), "start"), tick(1, height, short(edges.at(-1)), "end")));
}

// What a direction adds to every logit; heights are logarithmic, because the few tokens far out are what it is about.
export function logitHistogram({ edges, counts }, height = 80) {
  const [low, high] = [edges[0], edges.at(-1)];
  const place = (x) => (x - low) / (high - low || 1);
  const tip = (i) => `${counted(counts[i], "token")} between ${signed(edges[i], 2)} and ${signed(edges[i + 1], 2)}`;
  return s("svg", { class: "histogram logits", height: height + 22, role: "img", "aria-label": `Histogram of the effect on all logits, from ${signed(low, 2)} to ${signed(high, 2)}` },
    bars(edges, counts, place, height, tip, (n) => Math.log1p(n)),
    s("line", { class: "base", x1: 0, x2: "100%", y1: height, y2: height }),
    tick(0, height, signed(low, 2), "start"), place(0) > 0.12 && place(0) < 0.88 ? tick(place(0), height, "0") : null, tick(1, height, signed(high, 2), "end"));
}
