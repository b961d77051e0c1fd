// A hundred thousand points on a canvas: discs written straight into its pixels, so that a frame is one pass over the
// points whatever the graphics hardware. Points have places between -1 and 1; a grid over them finds the one under the pointer.

const CELLS = 256;

// The pixels of a disc, counted from its middle in rows of `wide`: those well inside, and those on its rim, half covered.
function disc(radius, wide) {
  const [inside, rim] = [[], []];
  const reach = Math.ceil(radius + 0.6);
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const far = Math.hypot(dx, dy);
      if (far <= radius) inside.push(dy * wide + dx);
      else if (far <= radius + 0.6) rim.push(dy * wide + dx);
    }
  }
  return { inside: Int32Array.from(inside), rim: Int32Array.from(rim), reach };
}

export class Splat {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.view = { x: 0, y: 0, zoom: 1 };
    this.n = 0;
  }

  // `colours` are RGBA as one number each, as a canvas holds them; `order` says who is drawn over whom.
  set(x, y) {
    Object.assign(this, { x, y, n: x.length });
    this.reach = [x, y].map((places) => places.reduce((far, v) => Math.max(far, Math.abs(v)), 0.05));
    this.cell = (v) => Math.max(0, Math.min(CELLS - 1, Math.floor(((v + 1) / 2) * CELLS)));
    this.starts = new Uint32Array(CELLS * CELLS + 1);
    const at = Uint32Array.from(x, (_, i) => this.cell(y[i]) * CELLS + this.cell(x[i]));
    for (const c of at) this.starts[c + 1]++;
    for (let c = 0; c < CELLS * CELLS; c++) this.starts[c + 1] += this.starts[c];
    const next = this.starts.slice();
    this.members = new Uint32Array(this.n);
    at.forEach((c, i) => (this.members[next[c]++] = i));
  }

  paint(colours, order, big = null) {
    Object.assign(this, { colours, order, big });
    this.resize();
    this.drawSoon();
  }

  // Once a frame, however much has changed until then.
  drawSoon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  // Makes the canvas as large as it is shown; whether it was not.
  resize() {
    const ratio = window.devicePixelRatio || 1;
    const [wide, high] = [Math.round(this.canvas.clientWidth * ratio), Math.round(this.canvas.clientHeight * ratio)];
    if (!wide || !high) return false;
    this.ratio = ratio;
    if (wide === this.canvas.width && high === this.canvas.height && this.image) return false;
    [this.canvas.width, this.canvas.height] = [wide, high];
    this.image = this.context.createImageData(wide, high);
    this.pixels = new Uint32Array(this.image.data.buffer);
    return true;
  }

  get scale() {
    return (Math.min(this.canvas.width / this.reach[0], this.canvas.height / this.reach[1]) / 2.1) * this.view.zoom;
  }

  draw() {
    this.resize();
    if (!this.image || !this.colours) return;
    const { pixels, x, y, colours, order, view, scale, big } = this;
    const [wide, high] = [this.canvas.width, this.canvas.height];
    const room = Math.sqrt((wide * high) / Math.max(1, this.n)); // pixels between neighbours, were they spread evenly
    const even = this.ratio * Math.max(0.9, Math.min(5, (room / this.ratio) * 0.16 * Math.sqrt(view.zoom)));
    const radius = Math.round(even) + 0.3; // discs of such radii look round
    const [small, large] = [disc(radius, wide), disc(Math.max(radius * 1.8, 3.2 * this.ratio), wide)];
    pixels.fill(0);
    for (let k = 0; k < order.length; k++) {
      const i = order[k];
      const px = Math.round(wide / 2 + (x[i] - view.x) * scale);
      const py = Math.round(high / 2 - (y[i] - view.y) * scale);
      const { inside, rim, reach } = big && big[i] ? large : small;
      if (px < reach || py < reach || px >= wide - reach || py >= high - reach) continue;
      const colour = colours[i];
      const half = (colour & 0x00ffffff) | 0x70000000;
      const at = py * wide + px;
      for (let j = 0; j < rim.length; j++) {
        const p = at + rim[j];
        if (pixels[p] >>> 24 < 0x71) pixels[p] = half;
      }
      for (let j = 0; j < inside.length; j++) pixels[at + inside[j]] = colour;
    }
    this.context.putImageData(this.image, 0, 0);
  }

  // From a place on the canvas in CSS pixels to the map, and back.
  toMap(left, top) {
    const [px, py] = [left * this.ratio, top * this.ratio];
    return [this.view.x + (px - this.canvas.width / 2) / this.scale, this.view.y - (py - this.canvas.height / 2) / this.scale];
  }

  toCanvas(i) {
    return [(this.canvas.width / 2 + (this.x[i] - this.view.x) * this.scale) / this.ratio, (this.canvas.height / 2 - (this.y[i] - this.view.y) * this.scale) / this.ratio];
  }

  // The point nearest to a place, within a few pixels; -1 for none.
  pick(left, top, within = 10) {
    const [mx, my] = this.toMap(left, top);
    const far = (within * this.ratio) / this.scale;
    let [best, least] = [-1, far * far];
    for (let cy = this.cell(my - far); cy <= this.cell(my + far); cy++) {
      for (let cx = this.cell(mx - far); cx <= this.cell(mx + far); cx++) {
        const c = cy * CELLS + cx;
        for (let k = this.starts[c]; k < this.starts[c + 1]; k++) {
          const i = this.members[k];
          const away = (this.x[i] - mx) ** 2 + (this.y[i] - my) ** 2;
          if (away < least) [best, least] = [i, away];
        }
      }
    }
    return best;
  }

  zoomAt(left, top, factor) {
    const [mx, my] = this.toMap(left, top);
    const zoom = Math.max(0.6, Math.min(400, this.view.zoom * factor));
    const kept = this.view.zoom / zoom;
    this.view = { zoom, x: mx - (mx - this.view.x) * kept, y: my - (my - this.view.y) * kept };
  }

  moveBy(left, top) {
    this.view = { ...this.view, x: this.view.x - (left * this.ratio) / this.scale, y: this.view.y + (top * this.ratio) / this.scale };
  }
}
