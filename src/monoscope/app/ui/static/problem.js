// What goes wrong, said: what was wrong, and what to do.

export class Problem extends Error {
  constructor(what, fix, status) {
    super(what);
    this.fix = fix;
    this.status = status;
  }
}

export const silent = () => new Problem("The Monoscope server does not answer.", "It may have been stopped. Start it again with “monoscope ui RUN”, then try again.", 0);
