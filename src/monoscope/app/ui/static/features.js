// The table of all features: searched, filtered, sorted by the server; only the rows in sight exist here.

import { get } from "./api.js";
import { interval } from "./charts.js";
import { debounce, h, show } from "./dom.js";
import { KINDS, count, density, fixed, short, signed } from "./format.js";
import { placeOf } from "./source.js";
import { label, literal } from "./tokens.js";

const CHUNK = 100;
const OVERSCAN = 8;
const COLUMNS = [
  ["id", "id", "id", "right"],
  ["", "label", "Label"],
  ["label_f1", "f1", "F1 and interval"],
  ["density", "density", "Density", "right"],
  ["loss_effect", "loss", "Loss effect", "right"],
  ["max", "max", "Max", "right"],
  ["", "tokens", "Top tokens"],
];
const SORTS = { label_f1: "F1", label_f1_low: "F1, lower end", density: "density", loss_effect: "loss effect", max: "maximum", id: "id" };
const DENSITIES = [["", "any density"], ["0.000000000001,1", "not dead"], ["0,0.0001", "below 0.01 %"], ["0.0001,0.001", "0.01 % to 0.1 %"], ["0.001,0.01", "0.1 % to 1 %"], ["0.01,0.1", "1 % to 10 %"], ["0.1,1", "above 10 %"]];

const EFFECTS = [["", "any"], ["0.1..", "at least 0.1 nats"], ["0.01..", "at least 0.01 nats"], ["..0", "none, or it falls"]];
// What each way to search takes; a way that is not named here takes what it says itself.
const TAKES = {
  words: ["words", "Words of a label or a text, or a number"],
  meaning: ["meaning", "Words; labels that say it otherwise are found too"],
  text: ["example text", "A text on which the features fire"],
  promoted: ["promoted token", "One token, with the space before it: “ the”"],
  concept: ["concept", "in_docstring & ~starts_with_space"],
  feature: ["likeness to a feature", "A feature’s number"],
};

// Where a reader came from, so that a feature's page can go on to the next one and back to this place.
export const trail = { query: null, index: 0, total: 0, url: "/features", scroll: 0 };

export const parametersOf = (state) => {
  const [min_density, max_density] = state.density ? state.density.split(",") : ["", ""];
  const { q, by, unlike, sort, descending, kind, min_f1, loss_effect, bookmarked } = state;
  return { q, by, unlike: by === "text" ? unlike : "", sort, descending, kind, min_f1, loss_effect, min_density, max_density, bookmarked };
};

function read(query) {
  const of = (name) => query.get(name) ?? "";
  const pair = of("density").split(",").map(Number);
  return {
    q: of("q"),
    by: /^[a-z_]+$/.test(of("by")) && of("by") !== "words" ? of("by") : "",
    unlike: of("unlike"),
    loss_effect: EFFECTS.some(([value]) => value === of("loss_effect")) ? of("loss_effect") : "",
    sort: of("sort") in SORTS ? of("sort") : "",
    descending: of("descending") === "false" ? "false" : "",
    kind: ["context", "token", "none"].includes(of("kind")) ? of("kind") : "",
    bookmarked: of("bookmarked") === "true" ? "true" : "",
    min_f1: Number(of("min_f1")) > 0 && Number(of("min_f1")) <= 1 ? of("min_f1") : "",
    density: pair.length === 2 && pair[0] >= 0 && pair[0] <= pair[1] && pair[1] <= 1 ? of("density") : "",
  };
}

function urlOf(state) {
  const query = new URLSearchParams(Object.entries(state).filter(([, v]) => v !== ""));
  return query.size ? `/features?${query}` : "/features";
}

function cells(row) {
  return [
    h("span", { class: "cell id", role: "cell" }, row.id),
    h("span", { class: `cell label${row.label ? "" : " empty"}`, role: "cell" }, row.annotation ? h("span", { class: "said", title: row.annotation.note || null }, `${row.annotation.bookmarked ? "★" : ""}${row.annotation.vote > 0 ? "+" : row.annotation.vote < 0 ? "−" : ""}${row.annotation.note ? "✎" : ""} `) : null, h("a", { href: `/feature/${row.id}`, tabindex: "-1", title: row.label || null }, row.annotation?.label ? label(row.annotation.label, 1) : label(row.label, row.label_f1))),
    h("span", { class: "cell f1", role: "cell" }, h("span", {}, fixed(row.label_f1)), interval(row.label_f1, row.label_f1_low, row.label_f1_high)),
    h("span", { class: "cell density num", role: "cell" }, density(row.density)),
    h("span", { class: "cell loss num", role: "cell" }, signed(row.loss_effect)),
    h("span", { class: "cell max num", role: "cell" }, short(row.max)),
    h("span", { class: "cell tokens", role: "cell" }, row.top_tokens.map(literal)),
  ];
}

class Table {
  constructor(shell) {
    this.shell = shell;
    this.chunks = new Map();
    this.shown = new Map();
    this.total = 0;
    this.active = -1;
    this.turn = 0;
    this.abort = new AbortController();
    this.spacer = h("div", { class: "spacer", role: "rowgroup" });
    this.viewport = h("div", { class: "viewport", tabindex: "0", "aria-label": "Features; arrow keys choose, Enter opens", onscroll: () => this.schedule(), onfocus: () => this.active < 0 && this.choose(0) }, this.spacer);
    this.head = h("div", { class: "head", role: "row" });
    this.grid = h("div", { class: "grid", role: "table", "aria-label": "Features" }, h("div", { role: "rowgroup" }, this.head), this.viewport);
    this.fetchSoon = debounce(40, () => this.fetchVisible());
    this.observer = new ResizeObserver(() => this.schedule());
    this.observer.observe(this.viewport);
  }

  drawHead(state, sortBy) {
    const sort = (state.sort || (state.q ? "" : "label_f1")).replace("_low", "");
    show(this.head, COLUMNS.map(([key, name, words, side]) => {
      const here = key && key === sort;
      const direction = here ? (state.descending === "false" ? "ascending" : "descending") : null;
      const content = key ? h("button", { type: "button", onclick: () => sortBy(key) }, words, here ? (direction === "ascending" ? " ↑" : " ↓") : "") : h("span", {}, words);
      return h("span", { role: "columnheader", class: `${name} ${side ?? ""}`, "aria-sort": direction }, content);
    }));
  }

  async load(parameters, { scroll = 0, active = -1 } = {}) {
    const turn = ++this.turn;
    this.abort.abort();
    this.abort = new AbortController();
    this.parameters = parameters;
    const first = await get("/api/features", { ...parameters, offset: 0, limit: CHUNK }, this.abort.signal);
    if (turn !== this.turn) return null;
    this.chunks = new Map([[0, first.rows]]);
    this.total = first.total;
    this.active = Math.min(active, this.total - 1);
    this.clear();
    this.grid.setAttribute("aria-rowcount", this.total);
    this.spacer.style.setProperty("--rows", this.total);
    this.viewport.scrollTop = scroll;
    this.draw();
    return first.total;
  }

  clear() {
    this.shown.clear();
    this.spacer.replaceChildren();
  }

  get rowHeight() {
    return parseFloat(getComputedStyle(this.viewport).getPropertyValue("--row")) || 46;
  }

  range() {
    const tall = this.rowHeight;
    const first = Math.floor(this.viewport.scrollTop / tall);
    return [Math.max(0, first - OVERSCAN), Math.min(this.total, first + Math.ceil(this.viewport.clientHeight / tall) + OVERSCAN)];
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  row(i) {
    return this.chunks.get(Math.floor(i / CHUNK))?.[i % CHUNK];
  }

  draw() {
    const [first, last] = this.range();
    for (const [i, element] of this.shown) {
      if (i < first || i >= last) {
        element.remove();
        this.shown.delete(i);
      }
    }
    let missing = false;
    for (let i = first; i < last; i++) {
      const row = this.row(i);
      missing ||= !row;
      const old = this.shown.get(i);
      if (old && (!row || old.dataset.ready)) continue;
      const element = this.element(i, row);
      if (old) old.replaceWith(element);
      else this.spacer.append(element);
      this.shown.set(i, element);
    }
    if (missing) this.fetchSoon();
  }

  element(i, row) {
    const blank = () => h("span", { class: "cell", role: "cell" });
    return h("div", { role: "row", class: `${row ? "" : "waiting"}${i === this.active ? " active" : ""}`, "aria-rowindex": i + 1, vars: { i }, data: row ? { ready: "1" } : {}, onclick: () => this.remember(i) },
      row ? cells(row) : COLUMNS.map(blank));
  }

  async fetchVisible() {
    const [first, last] = this.range();
    const turn = this.turn;
    for (let chunk = Math.floor(first / CHUNK); chunk * CHUNK < last; chunk++) {
      if (this.chunks.has(chunk)) continue;
      this.chunks.set(chunk, undefined);
      try {
        const found = await get("/api/features", { ...this.parameters, offset: chunk * CHUNK, limit: CHUNK }, this.abort.signal);
        if (turn !== this.turn) return;
        this.chunks.set(chunk, found.rows);
        this.shell.notify(null);
      } catch (error) {
        if (error.name === "AbortError" || turn !== this.turn) return;
        this.chunks.delete(chunk);
        this.shell.notify(error);
        return;
      }
    }
    this.draw();
  }

  remember(i) {
    this.active = i;
    Object.assign(trail, { query: this.parameters, index: i, total: this.total, url: placeOf(location), scroll: this.viewport.scrollTop });
  }

  choose(i) {
    if (!this.total) return;
    this.shown.get(this.active)?.classList.remove("active");
    this.active = Math.max(0, Math.min(this.total - 1, i));
    const [tall, top] = [this.rowHeight, this.viewport.scrollTop];
    const at = this.active * tall;
    if (at < top) this.viewport.scrollTop = at;
    else if (at + tall > top + this.viewport.clientHeight) this.viewport.scrollTop = at + tall - this.viewport.clientHeight;
    this.draw();
    const element = this.shown.get(this.active);
    element?.classList.add("active");
    element?.querySelector("a")?.focus({ preventScroll: true });
  }

  openActive() {
    const row = this.row(this.active);
    if (!row) return false;
    this.remember(this.active);
    this.shell.go(`/feature/${row.id}`);
    return true;
  }

  close() {
    this.turn++;
    this.abort.abort();
    this.observer.disconnect();
  }
}

const option = (state, way) => h("option", { value: way === "words" ? "" : way, selected: (state.by || "words") === way }, TAKES[way]?.[0] ?? way);

function controls(state, change) {
  const select = (name, words, options) => h("label", {}, words, h("select", { class: "field", name, onchange: (e) => change({ [name]: e.target.value }) }, options.map(([value, text]) => h("option", { value, selected: state[name] === value }, text))));
  const field = (name, type) => h("input", { class: "field", type, name, value: state[name], autocomplete: "off", spellcheck: "false", maxlength: "400" });
  const search = field("q", "search");
  const unlike = field("unlike", "text");
  unlike.placeholder = "A text on which they do not";
  const apart = h("label", { class: "search" }, "But not", unlike);
  const shape = () => {
    search.placeholder = TAKES[state.by || "words"]?.[1] ?? "";
    apart.hidden = state.by !== "text";
  };
  shape();
  const verbatim = () => ["text", "promoted"].includes(state.by);
  const typed = debounce(120, () => change({ q: verbatim() ? search.value : search.value.trim(), unlike: unlike.value }));
  search.addEventListener("input", typed);
  unlike.addEventListener("input", typed);
  const by = h("select", { class: "field", name: "by", onchange: (e) => {
    change({ by: e.target.value });
    shape();
    search.focus();
  } }, option(state, state.by || "words"));
  const box = h("form", { class: "filters", role: "search", onsubmit: (e) => e.preventDefault() },
    h("label", {}, "By", by),
    h("label", { class: "search" }, "Search", search),
    apart,
    h("button", { type: "button", class: "button show-more", "aria-expanded": "false", onclick: (e) => {
      const isOpen = box.dataset.open !== "true";
      box.dataset.open = isOpen;
      e.currentTarget.setAttribute("aria-expanded", isOpen);
    } }, "Filter"),
    h("div", { class: "more" },
      select("kind", "Label", [["", "any"], ["context", "contextual"], ["token", "token"], ["none", "none"]]),
      select("min_f1", "F1", [["", "any"], ["0.5", "at least 0.5"], ["0.8", "at least 0.8"], ["0.9", "at least 0.9"]]),
      select("density", "Density", DENSITIES),
      select("bookmarked", "Shown", [["", "all"], ["true", "bookmarked"]]),
      select("loss_effect", "Loss effect", EFFECTS),
      select("sort", "Order", [["", "best first"], ...Object.entries(SORTS)])));
  const offer = (ways) => show(by, ways.map((way) => option(state, way)));
  return { box, search, offer };
}

export async function open(root, { query }, shell, visit) {
  const state = read(query);
  const table = new Table(shell);
  const status = h("p", { class: "status", role: "status" });
  const empty = h("p", { class: "empty-state", hidden: true }, "No feature fits. Loosen a filter or search for other words.");

  async function load(place) {
    table.drawHead(state, sortBy);
    try {
      const total = await table.load(parametersOf(state), place);
      if (total === null || !visit.current()) return;
      shell.notify(null);
      const what = state.q ? `for “${state.q}”` : state.kind ? KINDS[state.kind === "none" ? "" : state.kind] : "";
      status.textContent = `${count(total)} ${total === 1 ? "feature" : "features"} ${what}`;
      empty.hidden = total > 0;
    } catch (error) {
      if (error.name !== "AbortError" && visit.current()) shell.notify(error);
    }
  }

  function change(part) {
    if (!visit.current()) return;
    Object.assign(state, part);
    visit.rewrite(urlOf(state));
    load();
  }

  function sortBy(key) {
    const same = (state.sort || (state.q ? "" : "label_f1")).replace("_low", "") === key;
    const up = same ? state.descending === "" : key === "id";
    change({ sort: key, descending: up ? "false" : "" });
    box.querySelector("select[name=sort]").value = state.sort;
  }

  const { box, search, offer } = controls(state, change);
  shell.title(state.q ? `“${state.q}”` : "Features");
  show(root, h("div", { class: "features" }, h("h1", { class: "unseen" }, "Features"), box, status, table.grid, empty));
  const moves = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: 10, PageUp: -10 };
  visit.hold({
    search: () => search.select(),
    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return false;
      if (event.target === search) {
        if (event.key === "Escape") search.blur();
        else if (event.key === "ArrowDown" || (event.key === "Enter" && table.total)) table.choose(0);
        else return false;
        return true;
      }
      if (event.target.matches("select, button, input")) return false;
      if (event.key in moves) table.choose(table.active + moves[event.key]);
      else if (event.key === "Home") table.choose(0);
      else if (event.key === "End") table.choose(table.total - 1);
      else if (event.key === "Enter" && table.active >= 0) return table.openActive();
      else return false;
      return true;
    },
    close: () => table.close(),
  });

  get("/api/ways").then(({ ways }) => offer([...new Set([...Object.keys(TAKES).filter((way) => ways.includes(way)), ...ways])]), shell.notify);
  const returning = trail.url === urlOf(state) && trail.query;
  await load(returning ? { scroll: trail.scroll, active: trail.index } : undefined);
  if (query.get("focus")) {
    visit.rewrite(urlOf(state));
    search.focus();
  }
}
