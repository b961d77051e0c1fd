// Fetching the files of an exported site: whole, or the byte range of one record where the host can do that.

import { Problem } from "./problem.js";

const AGAIN = "Check the connection, then try again.";
const WHOLE = "Copy the whole exported folder to the host, then reload.";
const SHARDS_KEPT = 4; // whole shards, of hosts that ignore ranges

async function inflate(bytes, name) {
  try {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return await new Response(stream).arrayBuffer();
  } catch {
    if (typeof DecompressionStream === "undefined") throw new Problem("This browser is too old for these pages.", "Use one of 2023 or later.");
    throw new Problem(`${name} of this site is damaged.`, WHOLE);
  }
}

const parse = (buffer) => JSON.parse(new TextDecoder().decode(buffer));

export class Files {
  constructor(base) {
    this.base = base;
    this.version = ""; // in every address, so that an old copy in a cache never meets a new index
    this.ranges = true; // until the host shows that it ignores them
    this.shards = new Map();
  }

  async fetch(name, options) {
    const url = new URL(name, this.base);
    if (this.version) url.searchParams.set("v", this.version);
    let response;
    try {
      response = await fetch(url, options);
    } catch {
      throw new Problem("The site’s host does not answer.", AGAIN);
    }
    if (!response.ok) throw new Problem(`${name} is missing from this site (status ${response.status}).`, WHOLE, response.status);
    try {
      return { status: response.status, bytes: await response.arrayBuffer() };
    } catch {
      throw new Problem("The connection broke.", AGAIN);
    }
  }

  async json(name) {
    const { bytes } = await this.fetch(name, { cache: "no-cache" });
    try {
      return parse(bytes);
    } catch {
      throw new Problem(`${name} of this site is damaged.`, WHOLE);
    }
  }

  async inflated(name) {
    return inflate((await this.fetch(name)).bytes, name);
  }

  async deflated(name) {
    return parse(await this.inflated(name));
  }

  // Bytes from `start` to `end` (exclusive) of a shard.
  async range(name, start, end) {
    if (!this.shards.has(name) && this.ranges) {
      const { status, bytes } = await this.fetch(name, { headers: { Range: `bytes=${start}-${end - 1}` } });
      if (status === 206 && bytes.byteLength === end - start) return bytes;
      this.ranges = false;
      if (status === 200) this.keep(name, bytes);
    }
    if (!this.shards.has(name)) this.keep(name, (await this.fetch(name)).bytes);
    return this.shards.get(name).slice(start, end);
  }

  keep(name, bytes) {
    if (this.shards.size >= SHARDS_KEPT) this.shards.delete(this.shards.keys().next().value);
    this.shards.set(name, bytes);
  }
}

export class Pack {
  constructor(files, name, { records, firsts }) {
    this.files = files;
    this.name = name;
    this.length = records;
    this.firsts = firsts;
  }

  // Where each record begins, counted over all shards; the last entry is where the last one ends.
  starts() {
    this.loading ??= this.files.inflated(`${this.name}/index.bin`).then((buffer) => {
      const lengths = new DataView(buffer);
      const starts = new Float64Array(this.length + 1);
      for (let i = 0; i < this.length; i++) starts[i + 1] = starts[i] + lengths.getUint32(4 * i, true);
      return starts;
    });
    this.loading.catch(() => (this.loading = undefined));
    return this.loading;
  }

  shardOf(i) {
    let [low, high] = [0, this.firsts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.firsts[middle] <= i) low = middle;
      else high = middle;
    }
    return low;
  }

  async record(i) {
    const starts = await this.starts();
    const shard = this.shardOf(i);
    const name = `${this.name}/${String(shard).padStart(4, "0")}.bin`;
    const base = starts[this.firsts[shard]];
    if (starts[i + 1] === starts[i]) throw new Problem("These files do not hold this text.", WHOLE, 404);
    const bytes = await this.files.range(name, starts[i] - base, starts[i + 1] - base);
    return parse(await inflate(bytes, name));
  }
}
