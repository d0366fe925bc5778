"""Uses the page of `lethe serve` as a user would, in a headless Chromium, and compares its masks, pixel by pixel, with those
of `lethe segment`. Usage: serve_page.py BROWSER LETHE CHECKPOINT URL IMAGE FOLDER; screenshots go to FOLDER, too."""
import glob
import json
import os
import shutil
import subprocess
import sys
import time

from devtools import Browser, png_read

program, lethe, checkpoint, url, image, folder = sys.argv[1:]
downloads, told = os.path.join(folder, "downloads"), os.path.join(folder, "told")
ALT, CTRL, SHIFT = 1, 2, 8
b = Browser(program)


def check(true, what):
    if not true:
        b.shot(os.path.join(folder, "failed.png"))
        raise AssertionError(f"{what}; the page says: {text('status')!r} {text('error')!r}")


def text(name):
    return b.evaluate(f"document.getElementById('{name}').textContent")


def off(name):
    return b.evaluate(f"document.getElementById('{name}').disabled")


def items(name):
    return b.evaluate(f"[...document.querySelectorAll('#{name} > *')].map(e => e.textContent)")


def place(x, y):
    """Of a share of the image's sides: the place on the screen, and the pixel of the image below it."""
    left, top, wide, high = b.evaluate("(r => [r.left, r.top, r.width, r.height])(document.getElementById('canvas').getBoundingClientRect())")
    sx, sy = int(left + wide * x), int(top + high * y)
    return sx, sy, int((sx - left) * width / wide), int((sy - top) * height / high)


def colour(x, y):
    """What the canvas shows there."""
    sx, sy, _, _ = place(x, y)
    return b.evaluate(f"""(c => {{ const r = c.getBoundingClientRect();
        return [...c.getContext('2d').getImageData((({sx} - r.left) * c.width / r.width) | 0, (({sy} - r.top) * c.height / r.height) | 0, 1, 1).data]; }})
        (document.getElementById('canvas'))""")


def downloaded(ending):
    """The file that a download has made."""
    name = b.until(lambda: next(iter(glob.glob(os.path.join(downloads, "*" + ending))), None), f"a download of {ending}")
    b.until(lambda: os.path.getsize(name), "its content")
    return name


def page_mask():
    for old in glob.glob(os.path.join(downloads, "*")):
        os.remove(old)
    b.key("d")
    mask = png_read(downloaded("-mask.png"))
    inside = sum(row.count(255) for row in mask[2])
    assert inside + sum(row.count(0) for row in mask[2]) == width * height, "neither black nor white"
    return mask, inside


def line_mask(prompt, which="_mask.png"):
    """What the command line makes of it."""
    shutil.rmtree(told, ignore_errors=True)
    subprocess.run([lethe, "segment", "--checkpoint", checkpoint, image, *prompt, "--out", told], check=True, stdout=subprocess.DEVNULL)
    return png_read(glob.glob(os.path.join(told, "*" + which))[0])


def compare(what, prompt, which="_mask.png"):
    (mask, inside), want = page_mask(), line_mask(prompt, which)
    check(mask == want, f"{what}: not the command line's mask")
    print(f"{what}: equal to lethe segment {' '.join(prompt)}, {inside} of {width * height} pixels inside")
    return inside


def answered(marks):
    """Waits for the answer to so many marks."""
    b.until(lambda: len(items("marks")) == marks and not off("keep"), f"an answer to {marks} marks")
    time.sleep(0.3)  # what came before is replaced when the newest answer is there


def load(path):
    b.choose_file("#file", path)
    b.until("!document.getElementById('work').hidden || !document.getElementById('error').hidden", "the beginning", 10)


def chosen():
    return b.evaluate("[...document.querySelectorAll('#choices > *')].findIndex(e => e.getAttribute('aria-checked') == 'true')")


def mouse_test():
    global multimask
    sx, sy, x, y = place(0.4, 0.55)
    before = [colour(u / 10, v / 10) for u in range(1, 10) for v in range(1, 10)]
    b.mouse("Moved", sx, sy)
    b.until(lambda: [colour(u / 10, v / 10) for u in range(1, 10) for v in range(1, 10)] != before, "the mask below the pointer")
    b.click(sx, sy)
    answered(1)
    check(items("marks") == [f"inside {x}, {y}"], f"marked {items('marks')}, not {x}, {y}")
    sizes = set()
    check(len(items("choices")) == 3, "three masks to choose from")
    best = chosen()
    for k in ("1", "2", "3"):
        b.key(k)
        check(chosen() == int(k) - 1, f"key {k} chooses")
        sizes.add(compare(f"click, mask {k}", ["--point", f"{x},{y}", "--multimask"], f"_mask{int(k) - 1}.png"))
    check(len(sizes) > 1, "the masks differ")
    iou = [float(c.split("IoU ")[1]) for c in items("choices")]
    check(iou[best] == max(iou), "the best was chosen")
    nx, ny, n1, n2 = place(0.7, 0.3)
    b.click(nx, ny, "right")
    answered(2)
    two = compare("right click", ["--point", f"{x},{y}", "--point", f"{n1},{n2},0"])
    b.key("z", CTRL)
    answered(1)
    b.click(nx, ny, "left", SHIFT)
    answered(2)
    check(items("marks")[1] == f"outside {n1}, {n2}", "Shift and click")
    (bx0, by0, x0, y0), (bx1, by1, x1, y1) = place(0.2, 0.25), place(0.8, 0.85)
    b.drag(bx0, by0, bx1, by1)
    answered(3)
    compare("a box by dragging", ["--point", f"{x},{y}", "--point", f"{n1},{n2},0", "--box", f"{x0},{y0},{x1},{y1}"])
    b.shot(os.path.join(folder, "marks.png"))
    b.key("z", CTRL)
    answered(2)
    check(compare("undo", ["--point", f"{x},{y}", "--point", f"{n1},{n2},0"]) == two, "undo brings back the mask before")
    b.key("Delete")
    answered(1)
    b.key("Escape")
    b.until("document.getElementById('marks').children.length == 0", "Escape clears")
    check(off("png"), "nothing to download")
    b.drag(bx0, by0, bx1, by1)
    answered(1)
    compare("a box alone", ["--box", f"{x0},{y0},{x1},{y1}"])


def keyboard_test():
    b.key("Escape")
    b.evaluate("document.getElementById('canvas').focus()")
    b.mouse("Moved", 5, 5)
    for key in ("ArrowRight", "ArrowDown", "ArrowDown"):
        b.key(key)
    b.key("ArrowLeft", SHIFT)
    at = [int(v) for v in text("status").removeprefix("Crosshair at ").removesuffix(".").split(", ")]
    b.key("Enter")
    answered(1)
    b.key("n")
    for _ in range(4):
        b.key("ArrowRight")
    out = [int(v) for v in text("status").removeprefix("Crosshair at ").removesuffix(".").split(", ")]
    check(out[0] > at[0] and out[1] == at[1], f"arrows move: {at} to {out}")
    b.key("Enter")
    answered(2)
    compare("keys alone", ["--point", f"{at[0]},{at[1]}", "--point", f"{out[0]},{out[1]},0"])
    b.key("n")
    b.key("Escape")
    b.key("b")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight"):
        b.key(key)
    end = [int(v) for v in text("status").removeprefix("Crosshair at ").removesuffix(".").split(", ")]
    b.key("Enter")
    answered(1)
    compare("a box by keys", ["--box", f"{out[0]},{out[1]},{end[0]},{end[1]}"])


def everything_test():
    for name, value in (("side", 6), ("iou", 0), ("stability", 0)):
        b.evaluate(f"document.getElementById('{name}').value = {value}")
    b.evaluate("document.getElementById('canvas').focus()")
    b.key("e")
    b.until("document.getElementById('everything').getAttribute('aria-pressed') == 'true'", "everything", 120)
    regions = int(text("status").split()[0])
    for old in glob.glob(os.path.join(downloads, "*")):
        os.remove(old)
    b.key("j")
    coco = json.load(open(downloaded("-coco.json")))
    shutil.rmtree(told, ignore_errors=True)
    subprocess.run([lethe, "segment", "--checkpoint", checkpoint, image, "--everything", "--points-per-side", "6", "--iou-threshold", "0",
                    "--stability-threshold", "0", "--out", told], check=True, stdout=subprocess.DEVNULL)
    want = json.load(open(glob.glob(os.path.join(told, "*.json"))[0]))
    key = lambda a: (a["segmentation"]["counts"], a["area"], a["bbox"], a["predicted_iou"], a["stability_score"])
    check(len(coco["annotations"]) == regions == len(want["annotations"]), f"{regions} regions, of the command line {len(want['annotations'])}")
    for a, z in zip(sorted(map(key, coco["annotations"])), sorted(map(key, want["annotations"]))):
        check(a == z, f"everything: {a} is not the command line's {z}")
    print(f"everything: {regions} regions, as lethe segment --everything")
    check(coco["images"][0]["width"] == width and coco["images"][0]["file_name"] == os.path.basename(image), "COCO JSON's image")
    for u, v in ((0.3, 0.3), (0.5, 0.5), (0.7, 0.7), (0.2, 0.8)):
        if "Selected" not in text("status"):
            b.click(*place(u, v)[:2])
    check("1 of" in text("status"), "a click selects a region")
    b.shot(os.path.join(folder, "everything.png"))
    mask, inside = page_mask()
    check(inside in [a["area"] for a in coco["annotations"]], "the region selected is what is downloaded")
    b.key("e")
    b.until("document.getElementById('everything').getAttribute('aria-pressed') == 'false'", "E leaves")


def trouble_test():
    bad = os.path.join(folder, "bad.jpg")
    with open(bad, "w") as f:
        f.write("no image at all")
    load(bad)
    b.until("document.getElementById('error').textContent.includes('neither a JPEG nor a PNG')", "words about a bad image")
    check(b.evaluate("document.getElementById('canvas').hidden"), "no image is shown")


def kept_test():
    b.key("Escape")
    b.click(*place(0.3, 0.3)[:2])
    answered(1)
    b.key("k")
    b.until("document.getElementById('kept').children.length == 1", "one kept")
    b.click(*place(0.7, 0.7)[:2])
    answered(1)
    for old in glob.glob(os.path.join(downloads, "*")):
        os.remove(old)
    b.key("j")
    check(len(json.load(open(downloaded("-coco.json")))["annotations"]) == 2, "two objects in the COCO JSON")


try:
    os.makedirs(downloads)
    b.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=downloads)
    b.open(url)
    load(image)
    b.until("!document.getElementById('everything').disabled", "the embedding", 120)
    width, height = (int(v) for v in text("status").split(", ")[1].split(" pixels")[0].split(" by "))
    mouse_test()
    keyboard_test()
    kept_test()
    everything_test()
    expected = len(b.complaints())
    check(expected == 0, f"the console complains: {b.complaints()}")
    trouble_test()
finally:
    b.close()
