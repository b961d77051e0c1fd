// Answers from the Monoscope server that serves these pages; its addresses are the pages' own.

import { silent } from "./problem.js";

export async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw silent();
  }
}

// The address that opens a place such as /feature/7, and the place that an address or a link opens: null if it is none.
export const hrefOf = (place) => place;
export const placeOf = ({ pathname, search }) => (pathname.startsWith("/static") ? null : pathname + search);

// Pages that cannot be opened here, and why.
export const absent = {};
