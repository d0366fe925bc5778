// Mouse and keys on the image: what they mean is told to `user`, the page's own functions.
const DRAG = 5; // pixels of the window that make a click a box

export function listen(canvas, view, user) {
  listenMouse(canvas, view, user);
  listenKeys(canvas, view, user);
}

function listenMouse(canvas, view, user) {
  let down = null;
  canvas.addEventListener("contextmenu", (e) => e.preventDefault());
  canvas.addEventListener("pointerdown", (e) => {
    const s = user.state();
    if (!s.ready || user.busy() || (e.button !== 0 && e.button !== 2)) return;
    canvas.setPointerCapture(e.pointerId);
    const outside = e.button === 2 || e.shiftKey || e.altKey || s.negative;
    down = {x: e.clientX, y: e.clientY, from: view.pixel(e), outside, box: e.button === 0};
  });
  canvas.addEventListener("pointermove", (e) => {
    const s = user.state();
    if (!s.ready) return;
    const p = view.pixel(e);
    s.cursor = null;
    s.last = p;
    if (down?.box && !s.found && Math.hypot(e.clientX - down.x, e.clientY - down.y) > DRAG)
      s.drag = {x0: down.from.x, y0: down.from.y, x1: p.x, y1: p.y};
    if (!down) user.hoverAt(p);
    user.draw();
  });
  canvas.addEventListener("pointerup", (e) => {
    const s = user.state();
    if (!down) return;
    const {from, outside} = down, drag = s.drag;
    down = s.drag = null;
    if (s.found) user.select(from);
    else if (drag) user.addBox(from, view.pixel(e));
    else user.addPoint(from, outside);
    user.draw();
  });
  canvas.addEventListener("pointercancel", () => {
    down = user.state().drag = null;
    user.draw();
  });
  canvas.addEventListener("pointerleave", user.hoverEnd);
}

// The crosshair: where Enter places a point.
function move(view, user, dx, dy, exact) {
  const s = user.state(), step = exact ? 1 : view.pixels(10);
  const from = s.cursor ?? s.last ?? {x: Math.floor(s.width / 2), y: Math.floor(s.height / 2)};
  s.cursor = {
    x: Math.min(s.width - 1, Math.max(0, from.x + dx * step)),
    y: Math.min(s.height - 1, Math.max(0, from.y + dy * step)),
  };
  user.tell(`Crosshair at ${s.cursor.x}, ${s.cursor.y}.`);
  user.hoverAt(s.cursor);
  user.draw();
}

function place(user) {
  const s = user.state(), p = s.cursor;
  if (!p) return;
  if (s.found) user.select(p);
  else if (s.corner) corner(user);
  else user.addPoint(p, s.negative);
}

function corner(user) {
  const s = user.state(), from = s.corner;
  if (!s.cursor || s.found) return;
  s.corner = from ? null : s.cursor;
  if (from) user.addBox(from, s.cursor);
  else user.tell("One corner of the box; move the crosshair to the other and press Enter.");
  user.draw();
}

function removeLast(user) {
  const {marks} = user.state();
  if (marks.length) user.setMarks(marks.slice(0, -1));
}

const marking = ["1", "2", "3", "k", "n", "u", "Delete", "Backspace"]; // nothing to do with everything

function listenKeys(canvas, view, user) {
  const onCanvas = {
    ArrowLeft: (e) => move(view, user, -1, 0, e.shiftKey), ArrowRight: (e) => move(view, user, 1, 0, e.shiftKey),
    ArrowUp: (e) => move(view, user, 0, -1, e.shiftKey), ArrowDown: (e) => move(view, user, 0, 1, e.shiftKey),
    Enter: () => place(user), " ": () => place(user), b: () => corner(user),
  };
  const anywhere = {
    o: user.open, n: user.toggleOutside, u: user.undo, k: user.keep, e: user.everything,
    d: () => user.download("png"), j: () => user.download("coco"), Escape: user.clear,
    Delete: () => removeLast(user), Backspace: () => removeLast(user),
    1: () => user.choose(0), 2: () => user.choose(1), 3: () => user.choose(2),
  };
  document.addEventListener("keydown", (e) => {
    const s = user.state(), key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
    if ((e.ctrlKey || e.metaKey) && key === "z") {
      e.preventDefault();
      if (!user.busy() && !s.found) user.undo();
      return;
    }
    if (e.ctrlKey || e.metaKey || e.altKey || (e.target instanceof HTMLInputElement && key !== "Escape")) return;
    const act = (e.target === canvas && s.ready && onCanvas[key]) || anywhere[key];
    if (!act || (user.busy() && key !== "Escape" && key !== "o") || (s.found && marking.includes(key))) return;
    e.preventDefault();
    act(e);
  });
}
