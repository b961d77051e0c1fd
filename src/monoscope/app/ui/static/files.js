// Answers from files beside these pages, where no server of ours runs: the data source of an exported site.
//
// Places are addressed as ?/feature/7, so that every host finds index.html whatever the place.

import { Columns } from "./columns.js";
import { Files, Pack } from "./pack.js";
import { Problem } from "./problem.js";

const LIVE = "Start “monoscope ui RUN” on a machine that has the run and its model.";

export const absent = {
  read: new Problem("These pages are files, and a file cannot read new text.", LIVE),
  rate: new Problem("These pages are files, and a file cannot keep ratings.", LIVE),
  map: new Problem("These files hold no map.", LIVE),
};

export const hrefOf = (place) => `?${place.replace("?", "&")}`;

export function placeOf({ pathname, search }) {
  if (pathname !== location.pathname) return null;
  return search.startsWith("?/") ? search.slice(1).replace("&", "?") : "/";
}

const files = new Files(new URL("../data/", import.meta.url));
const kept = new Map(); // what is loaded once

function once(name, load) {
  if (!kept.has(name)) {
    const loading = load();
    kept.set(name, loading);
    loading.catch(() => kept.delete(name)); // so that it can be tried again
  }
  return kept.get(name);
}

const site = () => once("site", async () => {
  const found = await files.json("site.json");
  files.version = found.version;
  return found;
});
const table = () => once("table", async () => new Columns(await site().then(() => files.deflated("table.bin"))));
const documents = () => once("documents", () => site().then(() => files.deflated("text/documents.bin")));
const pack = (name) => once(name, async () => new Pack(files, name, (await site()).packs[name]));

let latest = [null, null]; // the record last read: its examples are opened next

async function record(id) {
  const records = await pack("features");
  if (!(id >= 0 && id < records.length)) {
    throw new Problem(`there is no feature ${id}`, `this catalogue's features are 0 to ${records.length - 1}`, 404);
  }
  if (latest[0] !== id) latest = [id, await records.record(id)];
  return latest[1];
}

// Tokens from a position on with a feature's values on them; `values` is flat: how far on, value, how far on, value, …
function tokens(texts, first, values) {
  const at = new Map();
  for (let i = 0, position = 0; i < values.length; i += 2) at.set((position += values[i]), values[i + 1]);
  return texts.map((text, i) => ({ text, value: at.get(first + i) ?? 0, position: first + i }));
}

async function feature(id) {
  const found = await record(id);
  const example = ({ first, texts, values, ...e }) => ({ ...e, tokens: tokens(texts, first, values) });
  return { ...found, groups: found.groups.map((g) => ({ ...g, examples: g.examples.map(example) })) };
}

// More of the text around an example: the blocks that the wider passage meets.
async function context(query) {
  const [document, position, id] = ["document", "position", "feature"].map((name) => Number(query.get(name)));
  const found = await record(id);
  const example = found.groups.flatMap((g) => g.examples).find((e) => e.document === document && e.position === position);
  if (!example) throw new Problem("These files hold the text around examples only.", LIVE, 404);
  const [{ wide, block: size }, starts, blocks] = [await site(), await documents(), await pack("text")];
  const reach = (name, most) => Math.min(most, Number(query.get(name) ?? most));
  const from = Math.max(0, position - reach("before", wide[0]));
  const until = position + reach("after", wide[1]) + 1;
  const texts = [];
  let block;
  for (let at = from; !block || at < Math.min(until, block.length); at = block.first + block.tokens.length) {
    block = await blocks.record(starts[document] + Math.floor(at / size));
    texts.push(...block.tokens.slice(at - block.first, until - block.first));
  }
  return { name: block.name, length: block.length, tokens: tokens(texts, from, example.values) };
}

const ANSWERS = [
  [/^\/api\/overview$/, async () => (await site()).overview],
  [/^\/api\/ways$/, async () => ({ ways: ["words"] })],
  [/^\/api\/best$/, async (_, query) => ({ rows: (await site()).best.slice(0, Number(query.get("limit") ?? 12)) })],
  [/^\/api\/features$/, async (_, query) => (await table()).answer(query)],
  [/^\/api\/features\/(\d+)$/, (id) => feature(Number(id))],
  [/^\/api\/context$/, (_, query) => context(query)],
];

export async function reach(address, { method = "GET", signal } = {}) {
  const { pathname, searchParams } = new URL(address, location.origin);
  for (const [pattern, answer] of ANSWERS) {
    const match = method === "GET" && pathname.match(pattern);
    if (!match) continue;
    const found = await answer(match[1], searchParams);
    signal?.throwIfAborted();
    return Response.json(found);
  }
  throw new Problem("These pages are files: this needs a running Monoscope.", LIVE, 0);
}
