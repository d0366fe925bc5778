"""resize_pillow: Pillow's resizing of uint8 photographs, torch's of float tensors with gradients."""

import numpy as np
import torch
import torchvision.transforms
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resized_crop

from reference import photo_pixels, save_fixture

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
MODES = {"bicubic": InterpolationMode.BICUBIC, "bilinear": InterpolationMode.BILINEAR}
# source, (width, height): whole numbers, fractions, one axis only, extreme, up
WHOLE = {
    "coffee": [(112, 112), (64, 64), (50, 37), (224, 41), (7, 5), (1, 1)],
    "chelsea": [(64, 30), (100, 90), (128, 128), (65, 200)],
}
# left, top, width, height -> width, height; Pillow's crop, then resize
CROPS = [(37, 21, 133, 97, 64, 64), (0, 150, 40, 74, 64, 64), (180, 0, 44, 44, 96, 96)]
# left, top, right, bottom -> width, height; Pillow's box argument, which reads beyond the box
BOXES = [(37.0, 21.0, 170.0, 118.0, 64, 64), (10.5, 20.25, 180.75, 200.5, 48, 56)]


def pillow_cases(sources):
    out = {}
    for kind, how in FILTERS.items():
        for name, sizes in WHOLE.items():
            for size in sizes:
                image = sources[name].resize(size, how)
                out[f"pillow.{kind}.{name}.{size[0]}x{size[1]}"] = np.asarray(image)
        for i, (x, y, w, h, width, height) in enumerate(CROPS):
            image = sources["coffee"].crop((x, y, x + w, y + h)).resize((width, height), how)
            twin = resized_crop(sources["coffee"], y, x, h, w, (height, width), MODES[kind])
            assert np.array_equal(np.asarray(image), np.asarray(twin)), "torchvision differs from Pillow"
            out[f"pillow.{kind}.crop{i}"] = np.asarray(image)
        for i, (*box, width, height) in enumerate(BOXES):
            image = sources["coffee"].resize((width, height), how, box=tuple(box))
            out[f"pillow.{kind}.box{i}"] = np.asarray(image)
    out["pillow.crops"] = np.array(CROPS)
    out["pillow.boxes"] = np.array(BOXES)
    return out


def evaluation_cases(sources):
    """Short side to int(64 * 256 / 224) bicubic, then the middle 64 x 64, of upright and lying pictures."""
    transform = torchvision.transforms.Compose(
        [torchvision.transforms.Resize(73, MODES["bicubic"]), torchvision.transforms.CenterCrop(64)]
    )
    out = {}
    for name, box in {"lying": (10, 30, 211, 180), "upright": (40, 3, 141, 210)}.items():
        out[f"eval.{name}.box"] = np.array(box)
        out[f"eval.{name}.out"] = np.asarray(transform(sources["coffee"].crop(box)))
    return out


def torch_cases():
    """Input [2, 3, 5, 7] to several sizes; the loss is sum(out * dout)."""
    torch.manual_seed(25)
    x = torch.randn(2, 3, 5, 7)
    out = {"torch.in": x}
    for mode, aligned in (("bilinear", False), ("bilinear", True), ("bicubic", False)):
        for height, width in ((10, 14), (3, 4), (8, 5), (1, 1), (5, 7)):
            source = x.clone().requires_grad_()
            y = torch.nn.functional.interpolate(source, (height, width), mode=mode, align_corners=aligned)
            dout = torch.randn(y.shape)
            y.backward(dout)
            name = f"torch.{mode}{'_aligned' if aligned else ''}.{height}x{width}"
            out.update({f"{name}.out": y, f"{name}.dout": dout, f"{name}.din": source.grad})
    return out


def make(ref, out):
    pixels = {"coffee": photo_pixels("coffee_224"), "chelsea": photo_pixels("chelsea_64")}
    sources = {name: Image.fromarray(p) for name, p in pixels.items()}
    tensors = {f"source.{name}": p for name, p in pixels.items()}
    tensors.update({**pillow_cases(sources), **evaluation_cases(sources), **torch_cases()})
    save_fixture(out / "resize_pillow.safetensors", tensors, ref, sources="coffee_224, chelsea_64")
