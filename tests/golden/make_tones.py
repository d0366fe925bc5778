"""Writes tones_pillow.safetensors: what Pillow makes of a photograph in each of RandAugment's operations.

    pip install pillow numpy && python tests/golden/make_tones.py

Pixels are [height, width, 3] bytes; the name of a tensor is the operation and its argument. The argument is exact
in binary, so that the C side starts from the same number."""

import json
import pathlib
import struct

import numpy as np
import PIL
from PIL import Image, ImageEnhance, ImageOps

HERE = pathlib.Path(__file__).parent
FILL = (124, 116, 104)
AFFINE, BICUBIC = Image.Transform.AFFINE, Image.Resampling.BICUBIC


def affine(image, *matrix):
    return image.transform(image.size, AFFINE, matrix, resample=BICUBIC, fillcolor=FILL)


def solarize_add(image, add):
    return image.point([min(255, v + add) if v < 128 else v for v in range(256)] * 3)


OPERATIONS = {
    "autocontrast": (lambda i, v: ImageOps.autocontrast(i), [0]),
    "equalize": (lambda i, v: ImageOps.equalize(i), [0]),
    "invert": (lambda i, v: ImageOps.invert(i), [0]),
    "posterize": (lambda i, v: ImageOps.posterize(i, int(v)), [1, 3, 4]),
    "solarize": (lambda i, v: ImageOps.solarize(i, int(v)), [0, 26, 100, 256]),
    "solarize_add": (lambda i, v: solarize_add(i, int(v)), [0, 55, 110]),
    "saturation": (lambda i, v: ImageEnhance.Color(i).enhance(v), [0.125, 0.8125, 1.8125]),
    "contrast": (lambda i, v: ImageEnhance.Contrast(i).enhance(v), [0.125, 0.8125, 1.8125]),
    "brightness": (lambda i, v: ImageEnhance.Brightness(i).enhance(v), [0.125, 0.8125, 1.8125]),
    "sharpness": (lambda i, v: ImageEnhance.Sharpness(i).enhance(v), [0.125, 0.8125, 1.8125]),
    "rotate": (lambda i, v: i.rotate(v, resample=BICUBIC, fillcolor=FILL), [27.125, -12.5, 0.75]),
    "shear_x": (lambda i, v: affine(i, 1, v, 0, 0, 1, 0), [0.28125, -0.15625]),
    "shear_y": (lambda i, v: affine(i, 1, 0, 0, v, 1, 0), [0.28125, -0.15625]),
    "shift_x": (lambda i, v: affine(i, 1, 0, v, 0, 1, 0), [12.625, -30.5]),
    "shift_y": (lambda i, v: affine(i, 1, 0, 0, 0, 1, v), [12.625, -30.5]),
}


def main():
    photo = Image.open(HERE / "photos" / "chelsea_64.jpg").convert("RGB").crop((3, 5, 60, 46))
    dull = photo.point([v // 2 + 40 for v in range(256)] * 3)  # something for autocontrast to do
    tensors = {}
    for name, image in {"photo": photo, "dull": dull}.items():
        tensors[f"{name}.source"] = np.asarray(image)
        for operation, (run, values) in OPERATIONS.items():
            if name == "dull" and operation not in ("autocontrast", "equalize", "contrast"):
                continue
            for value in values:
                tensors[f"{name}.{operation}.{value:g}"] = np.asarray(run(image, value))
    header, data = {"__metadata__": {"pillow": PIL.__version__}}, b""
    for name in sorted(tensors):
        raw = tensors[name].tobytes()
        header[name] = {"dtype": "U8", "shape": list(tensors[name].shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    (HERE / "tones_pillow.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    main()
