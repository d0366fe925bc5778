"""Writes mask_data.safetensors: outlines as pycocotools rasterises them, pictures and masks as PyTorch, Pillow
and SAM's preprocessing bring them to a square.

    pip install torch pillow numpy pycocotools && python tests/golden/make_mask_data.py"""

import json
import pathlib
import struct

import numpy as np
import PIL
import torch
from PIL import Image
from pycocotools import mask as coco

HERE = pathlib.Path(__file__).parent
SIZE = 48
MEAN = torch.tensor([123.675, 116.28, 103.53]).view(-1, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(-1, 1, 1)


def outlines():
    """24 of them: [points, 2] in halves to 256ths of a pixel, inside, across the border and far outside."""
    rng = np.random.default_rng(7)
    out = {}
    for k in range(24):
        height, width, n = int(rng.integers(1, 60)), int(rng.integers(1, 60)), int(rng.integers(3, 14))
        reach = 1.0 if k % 3 else 2.5
        xy = (rng.random((n, 2)) - 0.5) * reach * [width, height] + [width / 2, height / 2]
        xy = np.round(xy * 256) / 256 if k % 2 else np.round(xy * 2) / 2
        if k % 5 == 4:
            xy = np.repeat(xy, 2, axis=0)  # points that stand twice
        runs = coco.frPyObjects([xy.reshape(-1).tolist()], height, width)
        out[f"outline.{k}.xy"] = xy.astype(np.float32)
        out[f"outline.{k}.mask"] = coco.decode(runs)[:, :, 0]
    return out


def interpolate(x, size):
    return torch.nn.functional.interpolate(x[None], size, mode="bilinear")[0]


def soft_mask(height, width):
    y, x = np.mgrid[:height, :width]
    d = np.hypot(x - width * 0.4, y - height * 0.55)
    return np.clip(255 * (0.3 * min(height, width) - d + 2) / 4, 0, 255).astype(np.uint8)


def normal(image):
    return (image - MEAN) / STD


def fitted(photo, name, size, window, mirror):
    """As HQ-SAM's training: mirror, interpolate, crop, cut fractions off, pad with 128 before normalising."""
    height, width = photo.size[1], photo.size[0]
    image = torch.tensor(np.asarray(photo), dtype=torch.float32).permute(2, 0, 1)
    mask = torch.tensor(soft_mask(height, width), dtype=torch.float32)[None]
    if mirror:
        image, mask = image.flip(2), mask.flip(2)
    x, y, w, h = window
    image = interpolate(image, size)[:, y : y + h, x : x + w]
    mask = interpolate(mask, size)[:, y : y + h, x : x + w]
    pad = (0, SIZE - w, 0, SIZE - h)
    image = torch.nn.functional.pad(image, pad, value=128.0).numpy().astype(np.uint8)
    mask = torch.nn.functional.pad(mask, pad)[0]
    return {
        f"{name}.size": np.array([*size, *window, mirror], np.int32),
        f"{name}.image": normal(torch.tensor(image)).numpy(),
        f"{name}.mask": mask.numpy(),
    }


def longest(photo, name):
    width, height = photo.size
    scale = SIZE * 1.0 / max(height, width)
    h, w = int(height * scale + 0.5), int(width * scale + 0.5)
    small = photo.resize((w, h), Image.Resampling.BILINEAR)
    image = normal(torch.tensor(np.asarray(small)).permute(2, 0, 1))
    image = torch.nn.functional.pad(image, (0, SIZE - w, 0, SIZE - h))
    return {f"{name}.fit": np.array([h, w], np.int32), f"{name}.image": image.numpy()}


def jittered_sizes():
    """[n, 6]: height, width, square, then what LargeScaleJitter makes of shares 0.1, 0.73, 1.37 and 2."""
    rows = []
    for height, width, square in [(480, 640, 1024), (37, 1024, 1024), (333, 250, 256), (999, 960, 1024), (61, 47, 48)]:
        size = torch.tensor([height, width])
        for share in (0.1, 0.73, 1.37, 2.0):
            side = (torch.tensor([share], dtype=torch.float32) * torch.tensor(square)).round()
            scale = torch.minimum(side / size[0], side / size[1])
            scaled = (size * scale).round().long()
            rows.append([height, width, square, round(share * 100), *scaled.tolist()])
    return {"jitter.sizes": np.array(rows, np.int32)}


def main():
    photo = Image.open(HERE / "photos" / "chelsea_64.jpg").convert("RGB").crop((3, 5, 64, 52))
    tall = photo.transpose(Image.Transpose.ROTATE_90)
    tensors = {"photo": np.asarray(photo), "tall": np.asarray(tall), **outlines(), **jittered_sizes()}
    for name, image in {"photo": photo, "tall": tall}.items():
        height, width = image.size[1], image.size[0]
        tensors[f"{name}.soft"] = soft_mask(height, width)
        tensors.update(longest(image, f"{name}.longest"))
        tensors.update(fitted(image, f"{name}.stretch", (SIZE, SIZE), (0, 0, SIZE, SIZE), False))
        tensors.update(fitted(image, f"{name}.small", (height // 3, width // 3), (0, 0, width // 3, height // 3), True))
        large = (height * 5 // 4, width * 5 // 4)
        window = (min(large[1] - min(SIZE, large[1]), 7), min(large[0] - min(SIZE, large[0]), 5), min(SIZE, large[1]), min(SIZE, large[0]))
        tensors.update(fitted(image, f"{name}.large", large, window, True))
    every = torch.arange(256, dtype=torch.uint8).repeat(3, 1)[:, None]
    tensors["normal"] = normal(every).numpy()
    kinds = {"float32": "F32", "int32": "I32", "uint8": "U8"}
    header, data = {"__metadata__": {"torch": torch.__version__, "pillow": PIL.__version__}}, b""
    for name in sorted(tensors, key=lambda n: (tensors[n].dtype == np.uint8, n)):
        value = np.ascontiguousarray(tensors[name])
        end = len(data) + value.nbytes
        header[name] = {"dtype": kinds[value.dtype.name], "shape": list(value.shape), "data_offsets": [len(data), end]}
        data += value.tobytes()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    (HERE / "mask_data.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    main()
