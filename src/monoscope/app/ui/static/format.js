// Numbers and names as the pages print them.

const grouped = new Intl.NumberFormat("en-GB");

export const count = (n) => grouped.format(n);
export const counted = (n, thing) => `${count(n)} ${thing}${n === 1 ? "" : "s"}`;
export const fixed = (x, digits = 2) => (x === null || x === undefined ? "–" : x.toFixed(digits).replace(/^-(?=0\.?0*$)/, "").replace(/^-/, "−"));
export const signed = (x, digits = 3) => (x === null || x === undefined ? "–" : (x > 0 ? "+" : "") + fixed(x, digits));
export const short = (x) => {
  if (x === null || x === undefined) return "–";
  const size = Math.abs(x);
  return size >= 100 ? fixed(x, 0) : size >= 10 ? fixed(x, 1) : fixed(x, 2);
};

export function density(x) {
  if (!x) return "never";
  const percent = 100 * x;
  const digits = percent >= 10 ? 1 : percent >= 1 ? 2 : percent >= 0.1 ? 3 : 4;
  return `${percent.toFixed(digits)} %`;
}

export const oneIn = (x) => (x ? `1 token in ${count(Math.round(1 / x))}` : "no token");

export const KINDS = { context: "contextual", token: "token", "": "unlabelled" };

export const nameOf = (feature) => feature.label || `feature ${feature.id}`;

// JavaScript counts UTF-16 units, the API counts bytes: the character reached once each byte has been read.
export function characterAt(text) {
  const at = new Uint32Array(new TextEncoder().encode(text).length + 1);
  let byte = 0;
  let unit = 0;
  for (const character of text) {
    const code = character.codePointAt(0);
    const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (let i = 0; i < size; i++) at[byte + i] = unit;
    byte += size;
    unit += character.length;
  }
  at[byte] = unit;
  return at;
}
