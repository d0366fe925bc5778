"""Makes photos/*.jpg from the photographs that the scikit-image wheel carries (see photos/SOURCES.md).

    pip download --no-deps scikit-image==0.26.0 && unzip scikit_image-*.whl -d wheel
    python make_photos.py wheel/skimage/data photos

The committed JPEGs are what every fixture is made from; run this again only to change the photographs.
"""

import argparse
from pathlib import Path

from PIL import Image

# file, square crop (left, top, right, bottom) of it, sizes to write
PHOTOS = [
    ("astronaut.png", (64, 0, 388, 324), (224, 64)),
    ("chelsea.png", (90, 0, 390, 300), (224, 64)),
    ("coffee.png", (110, 0, 510, 400), (224, 64)),
    ("rocket.jpg", (120, 20, 520, 420), (64,)),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="the folder skimage/data of an unpacked wheel")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, box, sizes in PHOTOS:
        square = Image.open(args.source / name).convert("RGB").crop(box)
        for size in sizes:
            path = args.out / f"{Path(name).stem}_{size}.jpg"
            square.resize((size, size), Image.Resampling.LANCZOS).save(path, quality=86, optimize=True)
            print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
