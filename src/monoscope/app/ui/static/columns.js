// The table of all features, held in the browser: the same filters, orders and windows as the server's.

const MATCHES = 2000;

const wordsOf = (text) => text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? [];

export class Columns {
  constructor({ rows, concepts }) {
    this.columns = rows;
    this.searched = [[rows.label, 10], [concepts, 6], [rows.top_tokens, 4]];
    this.length = rows.id.length;
    this.orders = new Map();
    this.latest = ["", []];
  }

  row(i) {
    return { ...Object.fromEntries(Object.entries(this.columns).map(([name, column]) => [name, column[i]])), annotation: null };
  }

  answer(query) {
    const [offset, limit] = [Number(query.get("offset") ?? 0), Number(query.get("limit") ?? 100)];
    const asked = new URLSearchParams(query);
    for (const name of ["offset", "limit"]) asked.delete(name);
    if (this.latest[0] !== String(asked) || !this.latest[0]) this.latest = [String(asked), this.ids(asked)];
    const ids = this.latest[1];
    return { total: ids.length, rows: ids.slice(offset, offset + limit).map((i) => this.row(i)) };
  }

  ids(query) {
    const q = (query.get("q") ?? "").trim();
    const sort = query.get("sort") || (q ? "relevance" : "label_f1_low");
    const descending = query.get("descending") !== "false";
    const keep = this.keeper(query);
    if (!q) return this.order(sort === "relevance" ? "id" : sort, descending && sort !== "relevance").filter(keep);
    const found = this.matches(q).filter(keep);
    if (sort === "relevance") return found;
    const wanted = new Set(found);
    return this.order(sort, descending).filter((i) => wanted.has(i));
  }

  keeper(query) {
    const { density, label_f1, label_kind, loss_effect } = this.columns;
    const of = (name, otherwise) => Number(query.get(name) || otherwise);
    const [low, high, f1] = [of("min_density", 0), of("max_density", 1), of("min_f1", 0)];
    const asked = query.get("kind") ?? "";
    const kind = asked === "none" ? "" : asked;
    const [least, most] = (query.get("loss_effect") || "..").split("..").map((end, i) => (end === "" ? (2 * i - 1) * Infinity : Number(end)));
    const effect = (value) => (least === -Infinity && most === Infinity) || (value !== null && value >= least && value <= most);
    const none = query.get("bookmarked") === "true"; // bookmarks are kept where a server runs
    return (i) => !none && density[i] >= low && density[i] <= high && (!asked || label_kind[i] === kind) && (f1 <= 0 || (label_f1[i] ?? -1) >= f1) && effect(loss_effect[i]);
  }

  // All ids by a column; features without a value come last either way, ties by id.
  order(sort, descending) {
    const key = `${sort} ${descending}`;
    if (!this.orders.has(key)) {
      const column = this.columns[sort];
      const value = (i) => (column[i] === null ? Infinity : descending ? -column[i] : column[i]);
      const values = Float64Array.from({ length: this.length }, (_, i) => value(i));
      const compare = (a, b) => (values[a] === values[b] ? a - b : values[a] < values[b] ? -1 : 1);
      this.orders.set(key, Array.from({ length: this.length }, (_, i) => i).sort(compare));
    }
    return this.orders.get(key);
  }

  // Features whose label, concept or top tokens have words that begin with those of the query, all or else any of them;
  // a query without letters or digits is looked for among the top tokens. A number finds the feature of that id first.
  matches(q) {
    const number = q.replace(/^#/, "");
    const first = /^\d+$/.test(number) && Number(number) < this.length ? [Number(number)] : [];
    const words = wordsOf(q).filter((word) => /[\p{L}\p{N}]/u.test(word));
    const found = words.length ? this.byWords(words) : this.bySymbols(q);
    return [...first, ...found.filter((i) => i !== first[0])].slice(0, MATCHES);
  }

  byWords(words) {
    this.lowered ??= this.searched.map(([texts]) => texts.map((text) => (Array.isArray(text) ? text.join(" ") : text).toLowerCase()));
    this.spelled ??= this.searched.map(() => []);
    const scores = new Map();
    const full = [];
    for (let i = 0; i < this.length; i++) {
      let [score, hit] = [0, 0];
      for (const word of words) {
        const best = this.searched.find((_, place) => this.begins(place, i, word))?.[1] ?? 0;
        score += best;
        hit += best > 0;
      }
      if (hit) scores.set(i, score * this.trust(i));
      if (hit === words.length) full.push(i);
    }
    return this.ranked(full.length ? full : [...scores.keys()], scores);
  }

  // Whether a word of a text begins with this one. Only texts that hold it somewhere are taken apart, once each.
  begins(place, i, word) {
    const text = this.lowered[place][i];
    if (!text.includes(word)) return false;
    return (this.spelled[place][i] ??= ` ${wordsOf(text).join(" ")}`).includes(` ${word}`);
  }

  bySymbols(q) {
    const scores = new Map();
    this.columns.top_tokens.forEach((tokens, i) => tokens.some((token) => token.includes(q)) && scores.set(i, this.trust(i)));
    return this.ranked([...scores.keys()], scores);
  }

  trust(i) {
    return 0.25 + 0.75 * (this.columns.label_f1[i] ?? 0);
  }

  ranked(ids, scores) {
    return ids.sort((a, b) => scores.get(b) - scores.get(a) || a - b);
  }
}
