// Server-sent events of an OpenAI-compatible server, one parsed chunk after the other.

import { Problem } from "./problem.js";

const problem = ({ message } = {}, status) => new Problem(message ?? `The server failed (status ${status}).`, "", status);

const silent = new Problem("The server does not answer.", "It may have been stopped. Start it again with “monoscope serve MODEL”, then try again.", 0);

export async function model() {
  const response = await fetch("/v1/models").catch(() => {
    throw silent;
  });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw problem(body.error, response.status);
  return body.data[0];
}

export async function* chunks(path, body, signal) {
  let response;
  try {
    response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw silent;
  }
  if (!response.ok) throw problem((await response.json().catch(() => ({}))).error, response.status);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Problem("The answer broke off.", "The server may have been stopped.", 0);
      const parts = (held + value).split("\n\n");
      held = parts.pop();
      for (const part of parts) {
        const data = part.replace(/^data: /, "");
        if (data === "[DONE]") return;
        const found = JSON.parse(data);
        if (found.error) throw problem(found.error, 0);
        yield found;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // tells the server to stop, where the reader left early
  }
}
