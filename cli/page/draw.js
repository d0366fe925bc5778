// Masks: from COCO's compressed runs to pixels of the screen. A mask is never laid out at the size of the
// image but to be saved: runs are painted straight onto the screen's pixels.

// "counts" of a segmentation -> lengths of runs, in column order, zeros first (data/rle.h).
export function runsOf(counts) {
  const runs = [];
  for (let i = 0; i < counts.length;) {
    let v = 0, k = 0, c;
    do {
      c = counts.charCodeAt(i++) - 48;
      v |= (c & 0x1f) << (5 * k++);
    } while (c & 0x20);
    if (c & 0x10) v |= -1 << (5 * k);
    if (runs.length > 2) v += runs[runs.length - 2];
    runs.push(v);
  }
  return runs;
}

function runs(mask) {
  return (mask.runs ||= runsOf(mask.segmentation.counts));
}

// Calls span(column, top, bottom) for each vertical piece of the mask, in pixels of the image.
function pieces(mask, span) {
  const height = mask.segmentation.size[0];
  let at = 0, inside = false;
  for (const run of runs(mask)) {
    for (let begin = at, end = at + run; inside && begin < end;) {
      const column = Math.floor(begin / height), next = Math.min(end, (column + 1) * height);
      span(column, begin - column * height, next - column * height);
      begin = next;
    }
    at += run;
    inside = !inside;
  }
}

// Writes `value` into map [view.height, view.width] where the mask is. A pixel of the view shows the pixel of
// the image below its middle.
export function paint(mask, view, map, value) {
  const [height, width] = mask.segmentation.size;
  const sx = view.width / width, sy = view.height / height;
  pieces(mask, (column, top, bottom) => {
    const x0 = Math.ceil(column * sx - 0.5), x1 = Math.ceil((column + 1) * sx - 0.5);
    const y0 = Math.ceil(top * sy - 0.5), y1 = Math.ceil(bottom * sy - 0.5);
    for (let x = x0; x < x1; x++)
      for (let y = y0; y < y1; y++) map[y * view.width + x] = value;
  });
}

// A picture of one mask: tinted, with its border drawn; kept with the mask until the view changes.
export function picture(mask, view, colour, strength) {
  const key = `${view.width} ${view.height} ${colour} ${strength}`;
  if (mask.key === key) return mask.picture;
  const map = new Uint8Array(view.width * view.height);
  paint(mask, view, map, 1);
  mask.key = key;
  return (mask.picture = tint(map, view, () => [...colour, strength]));
}

// map: 0 is empty, v > 0 a region of colour(v) = [red, green, blue, share 0 .. 1].
export function tint(map, view, colour) {
  const {width, height} = view, reach = Math.max(1, Math.round(view.ratio));
  const image = new ImageData(width, height), words = new Uint32Array(image.data.buffer), known = new Map();
  const word = (c, a) => (Math.round(a * 255) << 24 | c[2] << 16 | c[1] << 8 | c[0]) >>> 0;
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++, i++) {
      const v = map[i];
      if (!v) continue;
      if (!known.has(v)) {
        const c = colour(v);
        known.set(v, [word(c, c[3]), word(c, Math.min(1, c[3] + 0.5))]);
      }
      const border = x >= reach && map[i - reach] !== v || x < width - reach && map[i + reach] !== v ||
        y >= reach && map[i - reach * width] !== v || y < height - reach && map[i + reach * width] !== v;
      words[i] = known.get(v)[border ? 1 : 0];
    }
  const out = new OffscreenCanvas(width, height);
  out.getContext("2d").putImageData(image, 0, 0);
  return out;
}

// Colours that are told apart, also next to each other: the golden angle around the circle of hues.
export function colourOf(i) {
  const hue = (210 + i * 137.508) % 360, light = 0.55, chroma = 0.75 * (1 - Math.abs(2 * light - 1));
  return [0, 8, 4].map((n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (light - chroma / 2 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}

// The masks together at the size of the image, white on black.
export function bitmap(masks) {
  const [height, width] = masks[0].segmentation.size;
  const image = new ImageData(width, height), words = new Uint32Array(image.data.buffer).fill(0xff000000);
  for (const mask of masks)
    pieces(mask, (x, top, bottom) => {
      for (let y = top; y < bottom; y++) words[y * width + x] = 0xffffffff;
    });
  return image;
}
