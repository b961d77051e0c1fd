// What goes wrong, said: what was wrong, and what to do.

export class Problem extends Error {
  constructor(what, fix, status) {
    super(what);
    this.fix = fix;
    this.status = status;
  }
}
