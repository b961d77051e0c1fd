// The map: features whose directions are alike lie together. Pan, zoom, colours, search, and each point in words.

import { bytes, get } from "./api.js";
import { hideCard, showCard } from "./card.js";
import { debounce, h, show } from "./dom.js";
import { count, density, fixed } from "./format.js";
import { Splat } from "./splat.js";
import { label, literal } from "./tokens.js";

const PALETTE = ["#c96f14", "#1f8a84", "#8a57b4", "#5d8a22", "#c2483d", "#4a72c4", "#97801c", "#b0568f"];
const OTHER = "#8a857b";
const COLOURS = [["density", "density"], ["f1", "F1 of the label"], ["family", "kind of concept"], ["set", "dictionary"]];

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const packed = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const mix = (a, b, t) => a.map((v, i) => Math.round(v + (b[i] - v) * t));
const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const ramp = () => [rgb(variable("--ghost")), rgb(variable("--accent")), rgb(variable("--heat-deep"))];
const along = ([a, b, c], t) => (t < 0.5 ? mix(a, b, 2 * t) : mix(b, c, 2 * t - 1));

class FeatureMap {
  constructor(about, data, visit) {
    Object.assign(this, { about, visit, hits: null });
    const column = (i) => new Float32Array(data, 4 * i * about.n, about.n);
    [this.x, this.y, this.feature, this.density, this.f1, this.family] = [0, 1, 2, 3, 4, 5].map(column);
    this.set = new Uint8Array(about.n);
    let first = 0;
    about.sets.forEach(({ size }, s) => {
      this.set.fill(s, first, first + size);
      first += size;
    });
    this.canvas = h("canvas", { class: "map", tabindex: "0", role: "img", "aria-label": `Map of ${count(about.n)} features. Arrow keys move it, plus and minus zoom, 0 shows all of it.` });
    this.splat = new Splat(this.canvas);
    this.splat.set(this.x, this.y);
    this.legend = h("div", { class: "map-legend" });
    this.points = new Map();
    this.listen();
  }

  colour(by) {
    this.by = by;
    const none = packed(mix(rgb(variable("--ghost")), rgb(variable("--paper")), 0.35));
    const stops = ramp();
    const scale = (values, low, high) => Uint32Array.from(values, (v) => (Number.isNaN(v) ? none : packed(along(stops, Math.max(0, Math.min(1, (v - low) / (high - low || 1)))))));
    const named = (values, names) => {
      const table = names.map((name, i) => (name === "no label" ? none : packed(rgb(name === "other" ? OTHER : PALETTE[i % PALETTE.length]))));
      return Uint32Array.from(values, (v) => table[v]);
    };
    const [low, high] = [Math.min(...range(this.density)), Math.max(...range(this.density))];
    if (by === "density") this.base = scale(this.density, low, high);
    else if (by === "f1") this.base = scale(this.f1, 0, 1);
    else if (by === "family") this.base = named(this.family, this.about.families);
    else this.base = named(this.set, this.about.sets.map((s) => s.name));
    this.ends = by === "density" ? [density(10 ** low), density(10 ** high)] : ["F1 0", "1"];
    this.repaint();
    this.drawLegend();
  }

  repaint() {
    const n = this.about.n;
    const stride = n % 48271 ? 48271 : 1; // a prime: each point once, dictionaries mixed, so that none covers another
    const all = Uint32Array.from({ length: n }, (_, i) => (i * stride) % n);
    if (!this.hits) return this.splat.paint(this.base, all);
    const dim = packed(mix(rgb(variable("--ghost")), rgb(variable("--paper")), 0.55));
    const strong = packed(rgb(variable("--heat-deep")));
    const colours = Uint32Array.from(this.hits, (hit) => (hit ? strong : dim));
    return this.splat.paint(colours, Uint32Array.from([...all.filter((i) => !this.hits[i]), ...all.filter((i) => this.hits[i])]), this.hits);
  }

  drawLegend() {
    const chip = (name, colour) => h("span", {}, h("i", { class: "chip", vars: { c: colour } }), name);
    const names = this.by === "family" ? this.about.families : this.about.sets.map((s) => s.name);
    show(this.legend, this.by === "density" || this.by === "f1"
      ? h("span", { class: "legend" }, this.ends[0], h("span", { class: "ramp three", "aria-hidden": "true" }), this.ends[1], this.by === "f1" ? chip("no label", "var(--ghost)") : null)
      : names.map((name, i) => chip(name, name === "no label" ? "var(--ghost)" : name === "other" ? OTHER : PALETTE[i % PALETTE.length])));
  }

  schedule() {
    this.splat.drawSoon();
    this.moved();
  }

  moved() {} // told of every change of the view

  async tell(i, event) {
    if (!this.points.has(i)) this.points.set(i, await get(`/api/map/point/${i}`).catch(() => null));
    const p = this.points.get(i);
    if (!p || this.hovered !== i || !this.visit.current()) return;
    const where = this.about.sets.length > 1 ? ` · ${this.about.sets[p.set].name}` : "";
    showCard({ x: event.clientX, y: event.clientY - 6, below: event.clientY + 6 }, h("p", { class: "eyebrow" }, `#${p.id}${where}`), h("p", { class: "words" }, label(p.label, p.label_f1)),
      h("p", { class: "small" }, p.label_f1 === null ? "" : `F1 ${fixed(p.label_f1)} · `, `fires on ${density(p.density)}`), h("p", { class: "token-row" }, p.top_tokens.map(literal)));
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  listen() {
    const held = new Map();
    let travelled = 0;
    const c = this.canvas;
    const tellSoon = debounce(40, (i, event) => this.tell(i, event));
    c.addEventListener("pointerdown", (event) => {
      held.set(event.pointerId, this.place(event));
      c.setPointerCapture(event.pointerId);
      travelled = 0;
      hideCard();
    });
    c.addEventListener("pointermove", (event) => {
      const now = this.place(event);
      const before = held.get(event.pointerId);
      if (!before) {
        const i = this.splat.pick(...now);
        c.style.setProperty("cursor", i < 0 ? "grab" : "pointer");
        if (i !== this.hovered) hideCard();
        this.hovered = i;
        if (i >= 0) tellSoon(i, event);
        return;
      }
      if (held.size === 2) {
        const other = [...held].find(([id]) => id !== event.pointerId)[1];
        const far = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]) || 1;
        this.splat.zoomAt((now[0] + other[0]) / 2, (now[1] + other[1]) / 2, far(now) / far(before));
      } else this.splat.moveBy(now[0] - before[0], now[1] - before[1]);
      travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
      held.set(event.pointerId, now);
      this.schedule();
    });
    for (const name of ["pointerup", "pointercancel"]) c.addEventListener(name, (event) => held.delete(event.pointerId));
    c.addEventListener("pointerleave", () => {
      this.hovered = -1;
      hideCard();
    });
    c.addEventListener("click", (event) => {
      const i = this.splat.pick(...this.place(event));
      if (i >= 0 && travelled < 6 && this.set[i] === 0) this.open(this.feature[i]);
    });
    c.addEventListener("wheel", (event) => {
      event.preventDefault();
      hideCard();
      this.splat.zoomAt(...this.place(event), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
      this.schedule();
    }, { passive: false });
  }

  key(name) {
    const [w, t] = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
    const acts = {
      "+": () => this.splat.zoomAt(w, t, 1.4), "=": () => this.splat.zoomAt(w, t, 1.4), "-": () => this.splat.zoomAt(w, t, 1 / 1.4),
      0: () => (this.splat.view = { x: 0, y: 0, zoom: 1 }),
      ArrowLeft: () => this.splat.moveBy(60, 0), ArrowRight: () => this.splat.moveBy(-60, 0), ArrowUp: () => this.splat.moveBy(0, 60), ArrowDown: () => this.splat.moveBy(0, -60),
    };
    if (!acts[name]) return false;
    acts[name]();
    this.schedule();
    return true;
  }
}

function range(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const v of values) [low, high] = [v < low ? v : low, v > high ? v : high];
  return [low, high];
}

async function laidOut(root, visit) {
  for (;;) {
    const state = await get("/api/map");
    if (state.ready || !visit.current()) return state;
    show(root, h("div", { class: "laying", role: "status" }, h("p", {}, `Laying out ${count(state.n)} features by ${state.method.toUpperCase()}, once: ${Math.round(state.seconds)} s`), h("progress", { "aria-label": "Laying out" })));
    await new Promise((done) => setTimeout(done, 700));
  }
}

export async function open(root, { query }, shell, visit) {
  shell.title("Map");
  const room = h("div", { class: "map-room" });
  const status = h("p", { class: "status", role: "status" });
  show(root, h("div", { class: "map-page" }, h("h1", { class: "unseen" }, "Map"), room));
  const about = await laidOut(room, visit);
  if (!visit.current()) return;
  const map = new FeatureMap(about, await bytes("/api/map/data"), visit);
  map.open = (id) => shell.go(`/feature/${id}`);
  const asked = (name) => Number(query.get(name));
  if (query.has("z") && [asked("x"), asked("y"), asked("z")].every(Number.isFinite)) map.splat.view = { x: asked("x"), y: asked("y"), zoom: Math.max(0.6, Math.min(400, asked("z"))) };
  const offered = COLOURS.filter(([value]) => value !== "set" || about.sets.length > 1);
  const by = offered.some(([value]) => value === query.get("colour")) ? query.get("colour") : about.sets.length > 1 ? "set" : "family";
  const select = h("select", { class: "field", name: "colour", onchange: () => (map.colour(select.value), share()) }, offered.map(([value, words]) => h("option", { value, selected: value === by }, words)));
  const search = h("input", { class: "field", type: "search", name: "q", value: query.get("q") ?? "", placeholder: "Highlight by words of a label or a text", autocomplete: "off", maxlength: 400 });
  const made = { umap: "UMAP by cosine between decoder directions: neighbours are alike, far distances say little.", pca: "Principal components of the decoder directions: install the extra “map” for a map by neighbourhoods." };
  const share = () => {
    const address = new URLSearchParams({ colour: select.value });
    const { x, y, zoom } = map.splat.view;
    if (search.value.trim()) address.set("q", search.value.trim());
    if (zoom !== 1 || x || y) for (const [name, v] of [["x", x], ["y", y], ["z", zoom]]) address.set(name, +v.toFixed(4));
    visit.rewrite(`/map?${address}`);
  };
  map.moved = debounce(300, share);
  async function highlight() {
    const q = search.value.trim();
    try {
      const points = q ? (await get("/api/map/search", { q })).points : null;
      if (!visit.current() || q !== search.value.trim()) return;
      map.hits = points && Uint8Array.from({ length: about.n }, () => 0);
      for (const i of points ?? []) map.hits[i] = 1;
      map.repaint();
      shell.notify(null);
      show(status, points ? `${count(points.length)} of ${count(about.n)} features for “${q}”` : `${count(about.n)} living features. `, points ? null : made[about.method]);
    } catch (error) {
      if (visit.current()) shell.notify(error);
    }
  }
  search.addEventListener("input", debounce(200, () => (highlight(), share())));
  const zoom = (name, words, sign) => h("button", { type: "button", class: "button", "aria-label": words, onclick: () => map.key(name) }, sign);
  show(room,
    h("form", { class: "filters", role: "search", onsubmit: (e) => e.preventDefault() }, h("label", { class: "search" }, "Search", search), h("label", {}, "Colour by", select), h("span", { class: "acts" }, zoom("-", "Zoom out", "−"), zoom("+", "Zoom in", "+"), zoom("0", "Show all", "All"))),
    status, map.canvas, map.legend);
  map.colour(by);
  await highlight();
  const observer = new ResizeObserver(() => map.splat.resize() && map.splat.draw()); // a canvas that changes its size is empty
  observer.observe(map.canvas);
  const theme = new MutationObserver(() => map.colour(select.value));
  theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  visit.hold({
    search: () => search.select(),
    key: (event) => !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.matches("input, select, button") && map.key(event.key),
    close() {
      observer.disconnect();
      theme.disconnect();
      hideCard();
    },
  });
}
