// The server's answers. Every failure becomes a Problem that says what is wrong and what to do.

export class Problem extends Error {
  constructor(what, fix, status) {
    super(what);
    this.fix = fix;
    this.status = status;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The Monoscope server does not answer.", "It may have been stopped. Start it again with “monoscope ui RUN”, then try again.", 0);
  }
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
