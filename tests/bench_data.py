"""The other side of tests/bench_data.sh: Pillow, the same JPEGs from memory, the same crops, one core.

    bench_data.py rate OUT SECONDS   prints images per second
    bench_data.py same OUT           compares Pillow's bytes with those of the first samples of bench_data
    bench_data.py version"""

import array
import io
import sys
import time

import PIL
from PIL import Image

SIZE = 224


def load(out):
    items = []
    for line in open(f"{out}/crops.txt"):
        k, x, y, w, h, mirrored = map(int, line.split())
        items.append((open(f"{out}/{k}.jpg", "rb").read(), (x, y, x + w, y + h), mirrored))
    return items


def sample(data, box, mirrored):
    image = Image.open(io.BytesIO(data)).convert("RGB").crop(box).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image


def rate(out, seconds):
    items, images, begin = load(out), 0, time.process_time()
    while images < len(items) or time.process_time() < begin + seconds:
        sample(*items[images % len(items)])
        images += 1
    print(f"{images / (time.process_time() - begin):.1f}")


def same(out):
    theirs = array.array("f", open(f"{out}/first.bin", "rb").read())
    plane, equal, images = SIZE * SIZE, 0, 0
    for data, box, mirrored in load(out)[: len(theirs) // (3 * plane)]:
        ours = sample(data, box, mirrored).split()
        begin = images * 3 * plane
        planes = [theirs[begin + c * plane : begin + (c + 1) * plane] for c in range(3)]
        equal += all(bytes(round(v * 255) for v in p) == o.tobytes() for p, o in zip(planes, ours))
        images += 1
    print(f"{equal} of {images}")


if __name__ == "__main__":
    if sys.argv[1] == "rate":
        rate(sys.argv[2], float(sys.argv[3]))
    elif sys.argv[1] == "same":
        same(sys.argv[2])
    else:
        print(PIL.__version__)
