// Where answers come from, and how pages are addressed: this server. An export of these pages as files puts another
// source.js in this one's place.

export * from "./served.js";
