// The page of `lethe serve`: what the user does, and what is shown of it.
import * as api from "./api.js";
import {colourOf, paint, tint} from "./draw.js";
import {listen} from "./input.js";
import * as save from "./save.js";
import {View} from "./view.js";

const at = (id) => document.getElementById(id);
const canvas = at("canvas"), stage = at("stage");
const view = new View(canvas, stage, draw);
const blue = [40, 130, 255];
let about = {max_upload: Infinity};

// What is known of the image; begins anew with each.
const fresh = () => ({
  file: null, name: "", id: null, width: 0, height: 0, ready: false,
  marks: [], // points and a box, in the order they were made; never changed in place
  history: [], // earlier marks
  masks: [], chosen: 0, // the answer to the marks
  hover: null, hovered: "", // the mask under the pointer, and the pixel it was asked for
  kept: [],
  found: null, // everything: {masks, selected, map, picture}
  negative: false, cursor: null, last: null, corner: null, drag: null,
});
let s = fresh();
let work = null; // what takes long: {abort, text}

// ---- telling ----

function tell(text) {
  at("status").textContent = text;
}

function complain(error) {
  at("error").hidden = !error;
  at("error").textContent = error ? `${error.message ?? error}` : "";
}

const count = (n, one, many) => (n === 1 ? `1 ${one}` : `${n} ${many}`);
const iouOf = (m) => m.predicted_iou?.toFixed(2) ?? "unknown";
const percent = (v) => `${Math.round(v * 100)} %`;

function begin(text) {
  work?.abort.abort();
  work = {abort: new AbortController(), text};
  at("progress").removeAttribute("value");
  at("doing").textContent = text;
  refresh();
  return work;
}

function progress(w, said) {
  if (said.ahead) at("doing").textContent = `${w.text}: ${count(said.ahead, "other comes", "others come")} first`;
  if (said.share === undefined) return;
  at("progress").value = said.share;
  at("doing").textContent = `${w.text}: ${percent(said.share)}`;
}

function end(w) {
  if (work === w) work = null;
  refresh();
}

// ---- an image ----

async function open(file, again) {
  if (!file) return;
  complain(null);
  if (file.size > about.max_upload) {
    complain(`${file.name} is too large: at most ${Math.floor(about.max_upload / 2 ** 20)} MiB are taken.`);
    return;
  }
  const before = again ? s : fresh();
  if (s.id) api.remove(s.id);
  s = {...fresh(), file, name: file.name || "image.png", marks: before.marks, history: before.history, kept: before.kept};
  view.close();
  const w = begin("Embedding the image"), mine = s;
  tell(`Loading ${s.name}.`);
  try {
    for await (const said of api.embed(file, w.abort.signal)) {
      if (s !== mine) return;
      if (said.id) await show(said);
      progress(w, said);
      if (said.ready) s.ready = true;
    }
    if (!s.ready) throw new Error("The server has ended.");
    tell(`${s.name}, ${s.width} by ${s.height} pixels: point at an object.`);
    canvas.focus({preventScroll: true});
    if (s.marks.length) ask();
  } catch (error) {
    w.abort.abort();
    if (s !== mine) return;
    s = fresh();
    view.close();
    complain(error.name === "AbortError" ? null : error);
    tell(error.name === "AbortError" ? "Cancelled." : "No image.");
  } finally {
    end(w);
  }
}

// The browser has to see the image as the server does: turned by its EXIF orientation, or not.
async function show({id, width, height}) {
  const mine = s;
  Object.assign(s, {id, width, height});
  let image = await createImageBitmap(s.file);
  if (image.width !== width || image.height !== height) {
    image.close();
    image = await createImageBitmap(s.file, {imageOrientation: "none"});
  }
  if (s !== mine) return;
  view.open(image, width, height);
  refresh();
}

// ---- prompts ----

let flying = false, next = null;

// One question at a time; of those that wait, the newest.
async function send(question) {
  next = question;
  if (flying) return;
  flying = true;
  while (next) {
    const q = next, mine = s;
    next = null;
    try {
      const masks = await api.masks(s.id, q.prompt);
      if (s === mine) q.answer(masks);
    } catch (error) {
      if (s === mine) troubled(error);
    }
  }
  flying = false;
}

// The server keeps only so many images: one that had to make room is sent again.
function troubled(error) {
  if (error.status === 404 && s.file) open(s.file, true);
  else complain(error);
}

const best = (masks) => masks.reduce((b, m, i) => (m.predicted_iou > masks[b].predicted_iou ? i : b), 0);

function promptOf(marks) {
  const points = marks.filter((m) => m.kind === "point"), box = marks.find((m) => m.kind === "box");
  const prompt = {points: points.map((p) => [p.x, p.y, p.label]), multimask: points.length === 1 && !box};
  if (box) prompt.box = [box.x0, box.y0, box.x1, box.y1];
  return prompt;
}

function ask() {
  const marks = s.marks;
  s.hover = null;
  if (!marks.length) {
    s.masks = [];
    refresh();
    return;
  }
  send({
    prompt: promptOf(marks),
    answer(masks) {
      if (s.marks !== marks) return;
      complain(null);
      s.masks = masks;
      choose(best(masks));
    },
  });
  refresh();
}

function choose(i) {
  if (i >= s.masks.length) return;
  s.chosen = i;
  const m = s.masks[i];
  const which = s.masks.length > 1 ? `Mask ${i + 1} of ${s.masks.length}` : "Mask";
  tell(`${which}: predicted IoU ${iouOf(m)}, ${count(m.area, "pixel", "pixels")}.`);
  refresh();
}

function setMarks(marks) {
  s.history.push(s.marks);
  s.marks = marks;
  ask();
}

function addPoint(p, outside) {
  if (!s.ready || s.found) return;
  if (s.marks.filter((m) => m.kind === "point").length >= about.max_points) return;
  setMarks([...s.marks, {kind: "point", x: p.x, y: p.y, label: outside ? 0 : 1}]);
}

function addBox(a, b) {
  const box = {kind: "box", x0: Math.min(a.x, b.x), y0: Math.min(a.y, b.y), x1: Math.max(a.x, b.x), y1: Math.max(a.y, b.y)};
  if (box.x0 === box.x1 || box.y0 === box.y1) return;
  setMarks([...s.marks.filter((m) => m.kind !== "box"), box]);
}

function undo() {
  if (!s.history.length) return;
  s.marks = s.history.pop();
  tell(s.marks.length ? `Undone; ${count(s.marks.length, "mark is", "marks are")} left.` : "Undone; nothing is marked.");
  ask();
}

function clear() {
  if (work) return cancel();
  if (s.drag || s.corner) s.drag = s.corner = null;
  else if (s.found) return leave();
  else if (s.marks.length) setMarks([]), tell("Cleared.");
  refresh();
}

function keep() {
  const mask = s.masks[s.chosen];
  if (!mask || !s.marks.length) return;
  s.kept.push(mask);
  s.history = [];
  s.marks = [];
  tell(`Kept; ${count(s.kept.length, "object", "objects")}. Mark the next one.`);
  ask();
}

function hoverAt(p) {
  if (!s.ready || work || s.found || s.marks.length || s.drag || s.corner) return;
  const key = `${p.x} ${p.y}`;
  if (s.hovered === key) return;
  s.hovered = key;
  send({
    prompt: {points: [[p.x, p.y, 1]], multimask: true},
    answer(masks) {
      if (s.marks.length || s.found || !s.hovered) return;
      s.hover = masks[best(masks)];
      draw();
    },
  });
}

function hoverEnd() {
  s.hover = null;
  s.hovered = "";
  draw();
}

// ---- everything ----

async function everything() {
  if (s.found) return leave();
  if (!s.ready || work) return;
  const inputs = ["side", "iou", "stability"].map(at), wrong = inputs.find((i) => !i.checkValidity());
  if (wrong) {
    at("settings").open = true;
    wrong.reportValidity();
    return;
  }
  complain(null);
  const settings = Object.fromEntries(inputs.map((i) => [i.id, i.valueAsNumber]));
  const w = begin("Looking for everything"), mine = s;
  tell("Looking for everything in the image.");
  try {
    let masks = null;
    for await (const said of api.everything(s.id, settings, w.abort.signal)) {
      progress(w, said);
      masks = said.masks ?? masks;
    }
    if (s !== mine) return;
    if (!masks) throw new Error("The server has ended.");
    // small ones come last: they lie on top
    masks.sort((a, b) => b.area - a.area);
    s.hover = null;
    if (masks.length) s.found = {masks, selected: new Set()};
    else at("settings").open = true;
    tell(masks.length ? `${count(masks.length, "region", "regions")}: click to select.` : "Nothing was found that is so sure and stable; ask for less.");
  } catch (error) {
    if (s !== mine) return;
    if (error.name === "AbortError") tell("Cancelled.");
    else troubled(error);
  } finally {
    end(w);
  }
}

function leave() {
  s.found = null;
  tell("Point at an object.");
  refresh();
}

function cancel() {
  work?.abort.abort();
}

// The map of regions at the size of the view: 0, or the number of a region from 1 on.
function foundMap() {
  const f = s.found;
  if (f.width === view.width && f.height === view.height) return f;
  f.map = new Uint16Array(view.width * view.height);
  f.masks.forEach((m, i) => paint(m, view, f.map, i + 1));
  f.picture = tint(f.map, view, (v) => [...colourOf(v), 0.4]);
  f.width = view.width;
  f.height = view.height;
  return f;
}

function regionAt(p) {
  const [x, y] = view.place(p).map(Math.floor);
  return foundMap().map[y * view.width + x] - 1;
}

function select(p) {
  const i = regionAt(p), f = s.found;
  if (i < 0) return;
  if (!f.selected.delete(i)) f.selected.add(i);
  const m = f.masks[i];
  tell(`${f.selected.has(i) ? "Selected" : "No longer selected"}: predicted IoU ${iouOf(m)}, ${count(m.area, "pixel", "pixels")}. ` +
    `${f.selected.size} of ${f.masks.length} are selected.`);
  refresh();
}

function toggleOutside() {
  s.negative = !s.negative;
  tell(s.negative ? "The next points mark what is outside." : "The next points mark what is inside.");
  refresh();
}

// ---- saving ----

// What would be saved: the regions selected (or all), or what was kept and is shown.
function result() {
  if (s.found) return s.found.selected.size ? [...s.found.selected].map((i) => s.found.masks[i]) : s.found.masks;
  return s.marks.length && s.masks.length ? [...s.kept, s.masks[s.chosen]] : s.kept;
}

async function download(kind) {
  const masks = result();
  if (!masks.length) return;
  try {
    if (kind === "png") await save.png(s.name, masks);
    else save.coco(s.name, s.width, s.height, masks);
    tell(`Downloaded ${count(masks.length, "mask", "masks")}.`);
  } catch (error) {
    complain(error);
  }
}

// ---- showing ----

function shown() {
  if (s.found) {
    const masks = [...s.found.selected].map((i) => ({mask: s.found.masks[i], colour: colourOf(i + 1), strength: 0.65}));
    return masks;
  }
  const masks = s.kept.map((mask, i) => ({mask, colour: colourOf(i + 1), strength: 0.45}));
  if (s.marks.length && s.masks.length) masks.push({mask: s.masks[s.chosen], colour: blue, strength: 0.55});
  else if (s.hover) masks.push({mask: s.hover, colour: blue, strength: 0.35});
  return masks;
}

let asked = false;

function draw() {
  if (asked || !view.image) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    if (!view.image) return;
    const corner = s.corner && s.cursor && {x0: s.corner.x, y0: s.corner.y, x1: s.cursor.x, y1: s.cursor.y};
    view.draw({masks: shown(), under: s.found && foundMap().picture, marks: s.found ? [] : s.marks, drag: s.drag ?? corner,
      cursor: s.cursor, negative: s.negative, dim: !s.ready});
  });
}

function element(tag, text, more) {
  const e = document.createElement(tag);
  e.textContent = text;
  return Object.assign(e, more);
}

function refreshLists() {
  at("choices").replaceChildren(...s.masks.map((m, i) => {
    const b = element("button", `${i + 1}`, {onclick: () => choose(i), title: `Mask ${i + 1} (${i + 1})`});
    b.setAttribute("role", "radio");
    b.setAttribute("aria-checked", i === s.chosen);
    b.setAttribute("aria-label", `Mask ${i + 1}, predicted IoU ${iouOf(m)}`);
    b.append(element("small", `IoU ${iouOf(m)}`));
    return b;
  }));
  at("marks").replaceChildren(...s.marks.map((m) => element("li", m.kind === "box"
    ? `box ${m.x0}, ${m.y0} to ${m.x1}, ${m.y1}` : `${m.label ? "inside" : "outside"} ${m.x}, ${m.y}`,
  {className: m.kind === "box" ? "box" : m.label ? "inside" : "outside"})));
  at("kept").replaceChildren(...s.kept.map((m, i) => {
    const li = element("li", `${i + 1}: ${count(m.area, "pixel", "pixels")}`);
    const b = element("button", "✕", {title: "Remove", onclick: () => { s.kept.splice(i, 1); refresh(); }});
    b.setAttribute("aria-label", `Remove kept mask ${i + 1}`);
    li.append(b);
    return li;
  }));
}

function refresh() {
  const free = s.ready && !work, marking = free && !s.found;
  at("welcome").hidden = !!s.file;
  at("work").hidden = !work;
  at("choices-part").hidden = !marking || !s.marks.length || !s.masks.length;
  at("marks-part").hidden = !!s.found || !s.marks.length;
  at("kept-part").hidden = !!s.found || !s.kept.length;
  refreshLists();
  at("negative").disabled = !marking;
  at("negative").setAttribute("aria-pressed", s.negative);
  at("undo").disabled = !marking || !s.history.length;
  at("clear").disabled = !marking || !s.marks.length;
  at("keep").disabled = !marking || !s.marks.length || !s.masks.length;
  at("everything").disabled = !free;
  at("everything").setAttribute("aria-pressed", !!s.found);
  at("png").disabled = at("coco").disabled = !free || !result().length;
  canvas.classList.toggle("regions", !!s.found);
  canvas.setAttribute("aria-label", s.file ? `Image ${s.name}` : "Image");
  draw();
}

// ---- mouse and keys ----

listen(canvas, view, {
  state: () => s, busy: () => !!work, open: () => at("file").click(),
  hoverAt, hoverEnd, addPoint, addBox, select, setMarks, choose, undo, clear, keep, everything, download, toggleOutside, tell, draw,
});

// ---- buttons, files ----

const buttons = {
  open: () => at("file").click(), choose: () => at("file").click(), cancel, negative: toggleOutside, undo, clear, keep, everything,
  png: () => download("png"), coco: () => download("coco"),
};
for (const [id, act] of Object.entries(buttons)) at(id).addEventListener("click", act);
at("file").addEventListener("change", (e) => {
  open(e.target.files[0]);
  e.target.value = "";
});
document.addEventListener("dragover", (e) => { e.preventDefault(); stage.classList.add("over"); });
document.addEventListener("dragleave", (e) => e.relatedTarget || stage.classList.remove("over"));
document.addEventListener("drop", (e) => {
  e.preventDefault();
  stage.classList.remove("over");
  open(e.dataTransfer.files[0]);
});
document.addEventListener("paste", (e) => open(e.clipboardData.files[0]));
window.addEventListener("pagehide", () => s.id && api.remove(s.id));

api.model().then((m) => {
  about = m;
  at("model").textContent = m.model;
}, complain);
refresh();
