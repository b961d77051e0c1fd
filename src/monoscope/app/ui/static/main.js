// The shell: routes, links, keys, theme, notices.
//
// A page is a module with `open(root, parameters, shell, visit)`. `visit.current()` says whether the reader is still
// there, `visit.rewrite(url)` changes the address while they are, and `visit.hold({ key, search, close })` hands over the
// page's keys and its clearing up, before anything is loaded.

import { h, show } from "./dom.js";
import * as overview from "./overview.js";
import * as features from "./features.js";
import * as feature from "./feature.js";
import * as map from "./map.js";
import * as rate from "./rate.js";
import * as read from "./read.js";
import { absent, hrefOf, placeOf } from "./source.js";
import { startTips } from "./tips.js";

const root = document.getElementById("page");
const notice = document.getElementById("notice");
const ROUTES = [
  [/^\/$/, overview, "overview"],
  [/^\/features$/, features, "features"],
  [/^\/feature\/(\d+)$/, feature, "features"],
  [/^\/read$/, read, "read"],
  [/^\/rate$/, rate, "rate"],
  [/^\/map$/, map, "map"],
];
const KEYS = [
  ["/", "Search the features"],
  ["j  k  or  ↓  ↑", "Next, previous feature in a table"],
  ["Enter", "Open the chosen feature"],
  ["j  k  or  →  ←", "Next, previous feature on a feature’s page"],
  ["b  +  -  e", "Bookmark, good label, bad label, edit, on a feature’s page"],
  ["Esc", "Back to the table"],
  ["Alt ←  Alt →", "Previous, next token while reading"],
  ["←  →  ↑  ↓  +  -  0", "Move the map, zoom, show all of it"],
  ["1  2  3  4  5", "Overview, features, reading, map, rating"],
  ["t", "Light or dark"],
  ["?", "This help"],
];

let page = null;
let opened = 0;

export const shell = {
  go(url, { replace = false, focus = true } = {}) {
    if (replace) history.replaceState(null, "", hrefOf(url));
    else history.pushState(null, "", hrefOf(url));
    return route({ focus });
  },
  title(text) {
    document.title = text ? `${text} · Monoscope` : "Monoscope";
  },
  problem(error, retry) {
    return h("div", { class: "problem", role: "alert" },
      h("span", {}, h("strong", {}, error.message), " ", error.fix ?? ""),
      retry ? h("button", { class: "button", type: "button", onclick: retry }, "Try again") : null);
  },
  notify(error) {
    if (!error) notice.hidden = true;
    else {
      show(notice, h("span", {}, h("strong", {}, error.message), " ", error.fix ?? ""));
      notice.hidden = false;
    }
  },
};

async function route({ focus = false } = {}) {
  const turn = ++opened;
  page?.close?.();
  page = null;
  const visit = {
    current: () => turn === opened,
    rewrite: (url) => turn === opened && history.replaceState(history.state, "", hrefOf(url)),
    hold(handlers) {
      if (turn === opened) page = handlers;
      else handlers.close?.();
    },
  };
  shell.notify(null);
  const place = new URL(placeOf(location) ?? "/", location.origin);
  const found = ROUTES.map(([pattern, module, name]) => [place.pathname.match(pattern), module, name]).find(([match]) => match);
  for (const link of document.querySelectorAll("nav a")) {
    if (found && link.dataset.page === found[2]) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!found) {
    show(root, shell.problem({ message: "There is no such page.", fix: "Choose one above." }));
    return;
  }
  const [match, module, name] = found;
  if (focus) {
    window.scrollTo(0, 0);
    root.focus({ preventScroll: true });
  }
  if (absent[name]) {
    shell.title("");
    show(root, shell.problem(absent[name]));
    return;
  }
  try {
    await module.open(root, { parts: match.slice(1), query: place.searchParams }, shell, visit);
  } catch (error) {
    if (turn === opened && error.name !== "AbortError") show(root, shell.problem(error, () => route()));
  }
}

function follow(event) {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.target || link.origin !== location.origin || link.getAttribute("href").startsWith("#") || placeOf(link) === null) return;
  event.preventDefault();
  shell.go(placeOf(link));
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function switchTheme() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("monoscope-theme", theme);
  } catch {
    // storage may be forbidden; the choice holds until the page is closed
  }
}

function help() {
  const dialog = document.getElementById("keys");
  if (dialog.open) return dialog.close();
  show(dialog, h("h2", { id: "keys-title" }, "Keyboard"),
    h("dl", {}, KEYS.map(([keys, what]) => [h("dt", {}, keys.split("  ").map((key) => (key === "or" ? " or " : [h("kbd", {}, key), " "]))), h("dd", {}, what)])),
    h("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Close"));
  return dialog.showModal();
}

const typing = (event) => event.target.matches?.("input, textarea, select") ?? false;

function key(event) {
  if (document.getElementById("keys").open) {
    if (event.key === "?") help();
    return;
  }
  if (page?.key?.(event)) return event.preventDefault();
  if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  const actions = {
    "?": help,
    t: switchTheme,
    "/": () => (page?.search ? page.search() : shell.go("/features?focus=1", { focus: false })),
    1: () => shell.go("/"),
    2: () => shell.go("/features"),
    3: () => shell.go("/read"),
    4: () => shell.go("/map"),
    5: () => shell.go("/rate"),
  };
  if (actions[event.key]) {
    event.preventDefault();
    actions[event.key]();
  }
}

document.addEventListener("click", follow);
document.addEventListener("keydown", key);
window.addEventListener("popstate", () => route());
document.getElementById("theme").addEventListener("click", switchTheme);
document.getElementById("help").addEventListener("click", help);
startTips(document.getElementById("tip"));
history.scrollRestoration = "auto";
route();
