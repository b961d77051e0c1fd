// Asking for data, wherever it comes from. Every failure becomes a Problem that says what is wrong and what to do.

import { Problem, silent } from "./problem.js";
import { reach } from "./source.js";

export { Problem };

async function answer(response) {
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const { what, fix } = body.error ?? {};
  throw new Problem(what ?? `The server failed (status ${response.status}).`, fix ?? "Look at the terminal in which the server runs.", response.status);
}

const ask = async (path, options) => answer(await reach(path, options));

export const get = (path, parameters = {}, signal = undefined) => {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, v]) => v !== "" && v !== null && v !== undefined));
  return ask(query.size ? `${path}?${query}` : path, { signal });
};

export async function bytes(path) {
  const response = await reach(path);
  return response.ok ? response.arrayBuffer() : answer(response);
}

const posted = (body, signal) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });

export const post = (path, body, signal) => ask(path, posted(body, signal));

// An answer that comes line by line while the server works on it.
export async function* lines(path, body, signal) {
  const response = await reach(path, posted(body, signal));
  if (!response.ok) await answer(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (held + value).split("\n");
      held = parts.pop();
      for (const part of parts) {
        const found = JSON.parse(part);
        if (found.error) throw new Problem(found.error.what, found.error.fix, 0);
        yield found;
      }
    }
  } catch (error) {
    if (error instanceof TypeError) throw silent();
    throw error;
  } finally {
    reader.cancel().catch(() => {}); // tells the server to stop, where the reader left early
  }
}
