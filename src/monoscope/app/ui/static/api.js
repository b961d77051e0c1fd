// Asking for data, wherever it comes from. Every failure becomes a Problem that says what is wrong and what to do.

import { Problem } from "./problem.js";
import { reach } from "./source.js";

export { Problem };

async function ask(path, options) {
  const response = await reach(path, options);
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const { what, fix } = body.error ?? {};
  throw new Problem(what ?? `The server failed (status ${response.status}).`, fix ?? "Look at the terminal in which the server runs.", response.status);
}

export const get = (path, parameters = {}, signal = undefined) => {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, v]) => v !== "" && v !== null && v !== undefined));
  return ask(query.size ? `${path}?${query}` : path, { signal });
};

export const post = (path, body, signal) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
