// The canvas: the image fitted to the window, masks on it, and what the user marked.
import {picture} from "./draw.js";

const inside = "#17a34a", outside = "#e5372b";

export class View {
  constructor(canvas, stage, changed) {
    this.canvas = canvas;
    this.stage = stage;
    this.context = canvas.getContext("2d");
    this.width = this.height = 0; // of the canvas, in pixels of the screen
    new ResizeObserver(() => this.fit() && changed()).observe(stage);
  }

  // image: what can be drawn, [width, height] its size in pixels of the image.
  open(image, width, height) {
    Object.assign(this, {image, imageWidth: width, imageHeight: height});
    this.canvas.hidden = false;
    this.fit();
  }

  close() {
    this.image?.close();
    this.image = null;
    this.canvas.hidden = true;
  }

  // True where the size has changed.
  fit() {
    if (!this.image) return false;
    const {clientWidth, clientHeight} = this.stage, gap = 16, ratio = window.devicePixelRatio || 1;
    const scale = Math.max(0.001, Math.min((clientWidth - 2 * gap) / this.imageWidth, (clientHeight - 2 * gap) / this.imageHeight));
    const wide = Math.max(1, this.imageWidth * scale), high = Math.max(1, this.imageHeight * scale);
    const width = Math.max(1, Math.round(wide * ratio)), height = Math.max(1, Math.round(high * ratio));
    if (width === this.width && height === this.height) return false;
    this.ratio = ratio;
    this.canvas.style.width = `${wide}px`;
    this.canvas.style.height = `${high}px`;
    this.canvas.width = this.width = width;
    this.canvas.height = this.height = height;
    return true;
  }

  // The pixel of the image under the pointer; at the edge the nearest.
  pixel(event) {
    const at = this.canvas.getBoundingClientRect();
    const place = (v, size, pixels) => Math.min(pixels - 1, Math.max(0, Math.floor(v / size * pixels)));
    return {
      x: place(event.clientX - at.left, at.width, this.imageWidth),
      y: place(event.clientY - at.top, at.height, this.imageHeight),
    };
  }

  // How many pixels of the image are `n` pixels of the window.
  pixels(n) {
    return Math.max(1, Math.round(n * this.imageWidth / this.canvas.clientWidth));
  }

  // The middle of a pixel of the image, in pixels of the canvas.
  place(p) {
    return [(p.x + 0.5) * this.width / this.imageWidth, (p.y + 0.5) * this.height / this.imageHeight];
  }

  // masks: [{mask, colour, strength}]; under: a picture below them, or null
  draw({masks, under, marks, drag, cursor, negative, dim}) {
    const c = this.context;
    c.globalAlpha = 1;
    c.imageSmoothingQuality = "high";
    c.clearRect(0, 0, this.width, this.height);
    c.globalAlpha = dim ? 0.45 : 1;
    c.drawImage(this.image, 0, 0, this.width, this.height);
    c.globalAlpha = 1;
    if (under) c.drawImage(under, 0, 0);
    for (const m of masks) c.drawImage(picture(m.mask, this, m.colour, m.strength), 0, 0);
    for (const m of marks) if (m.kind === "box") this.box(m, false);
    if (drag) this.box(drag, true);
    for (const m of marks) if (m.kind === "point") this.point(m);
    if (cursor) this.cross(cursor, negative);
  }

  // A line that shows on any ground: dark below, bright above.
  line(colour, width) {
    const c = this.context;
    c.lineWidth = (width + 2) * this.ratio;
    c.strokeStyle = "#000a";
    c.stroke();
    c.lineWidth = width * this.ratio;
    c.strokeStyle = colour;
    c.stroke();
  }

  box(b, drawing) {
    const c = this.context, [x0, y0] = this.place({x: b.x0, y: b.y0}), [x1, y1] = this.place({x: b.x1, y: b.y1});
    c.setLineDash(drawing ? [6 * this.ratio, 4 * this.ratio] : []);
    c.beginPath();
    c.rect(x0, y0, x1 - x0, y1 - y0);
    this.line("#fff", 2);
    c.setLineDash([]);
  }

  point(p) {
    const c = this.context, [x, y] = this.place(p), r = 7 * this.ratio, arm = 3.5 * this.ratio;
    c.beginPath();
    c.arc(x, y, r, 0, 2 * Math.PI);
    c.fillStyle = p.label ? inside : outside;
    c.fill();
    this.line("#fff", 1.5);
    c.beginPath();
    c.moveTo(x - arm, y);
    c.lineTo(x + arm, y);
    if (p.label) {
      c.moveTo(x, y - arm);
      c.lineTo(x, y + arm);
    }
    c.lineWidth = 2 * this.ratio;
    c.strokeStyle = "#fff";
    c.stroke();
  }

  cross(p, negative) {
    const c = this.context, [x, y] = this.place(p), arm = 14 * this.ratio, gap = 4 * this.ratio;
    c.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      c.moveTo(x + dx * gap, y + dy * gap);
      c.lineTo(x + dx * arm, y + dy * arm);
    }
    this.line(negative ? "#ff9d94" : "#fff", 2);
  }
}
