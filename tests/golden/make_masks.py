"""masks_reference: what Segment Anything, HQ-SAM's evaluation, cv2 and torchvision make of drawn masks.

    python make_masks.py SEGMENT_ANYTHING SAM_HQ

The arguments are checkouts of facebookresearch/segment-anything and SysCV/sam-hq.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
import torchvision

from reference import HERE, checkout_commit, save_fixture

SHAPES = {"wide": (37, 53), "tall": (61, 18), "odd": (1, 9), "line": (13, 1), "large": (64, 80)}


class Versions:
    """What save_fixture asks of a reference."""

    def __init__(self, sam, hq):
        self.versions = {
            "reference": "facebookresearch/segment-anything, SysCV/sam-hq",
            "reference_commit": f"{checkout_commit(sam)}, {checkout_commit(hq)}",
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "cv2": cv2.__version__,
            "numpy": np.__version__,
        }


def smooth_noise(rng, shape, sigma):
    return cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), sigma)


def drawn_masks(rng):
    """Two masks of each kind: smooth blobs, noise, and what has no inside or no outside."""
    out = {}
    for name, shape in SHAPES.items():
        for kind, sigma in {"blobs": 3, "specks": 0.6}.items():
            for i in range(2):
                out[f"{name}.{kind}{i}"] = (smooth_noise(rng, shape, sigma) > 0).astype(np.uint8)
        out[f"{name}.empty0"] = np.zeros(shape, np.uint8)
        out[f"{name}.full0"] = np.ones(shape, np.uint8)
        out[f"{name}.one0"] = np.zeros(shape, np.uint8)
        out[f"{name}.one0"][shape[0] // 2, shape[1] // 3] = 1
    return out


def mask_cases(masks, amg, boundary_iou):
    out = {}
    for name, mask in masks.items():
        out[f"mask.{name}"] = mask
        out[f"box.{name}"] = amg.batched_mask_to_box(torch.from_numpy(mask.astype(bool)))
        for area in (3, 30):
            for mode in ("holes", "islands"):
                changed, told = amg.remove_small_regions(mask.astype(bool), area, mode)
                out[f"{mode}{area}.{name}"] = changed.astype(np.uint8)
                out[f"{mode}{area}.told.{name}"] = told
        if mask.any():
            far = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 0)[1:-1, 1:-1]
            y, x = np.unravel_index(far.argmax(), far.shape)
            out[f"centre.{name}"] = np.array([x, y])
        if name.endswith("0") and name[:-1] + "1" in masks:
            other = masks[name[:-1] + "1"]
            for ratio in (0.02, 0.005):
                both = torch.from_numpy(mask[None] * 255), torch.from_numpy(other[None].astype(np.float32))
                out[f"boundary{ratio}.{name}"] = boundary_iou(*both, ratio)
    return out


def nms_cases(rng):
    out = {}
    for i, n in enumerate((1, 40, 400)):
        corner = rng.integers(0, 60, (n, 2))
        boxes = np.concatenate([corner, corner + rng.integers(0, 40, (n, 2))], 1).astype(np.float32)
        scores = rng.integers(0, n, n).astype(np.float32) / n if i < 2 else rng.random(n).astype(np.float32)
        scores = scores + np.arange(n, 0, -1, dtype=np.float32) * 1e-6  # no ties: their order is free
        out[f"nms{i}.boxes"], out[f"nms{i}.scores"] = boxes, scores
        for limit in (0.3, 0.7):
            out[f"nms{i}.keep{limit}"] = torchvision.ops.nms(torch.tensor(boxes), torch.tensor(scores), limit)
    return out


def generator_cases(amg):
    """Crops [n, 5] with their layers, points [n, 2] of a grid, and which boxes touch a crop's edge."""
    out = {}
    for h, w, layers in ((600, 800, 2), (333, 1000, 3), (101, 67, 1)):
        boxes, layer = amg.generate_crop_boxes((h, w), layers, 512 / 1500)
        out[f"crops.{h}x{w}.{layers}"] = np.concatenate([np.array(boxes), np.array(layer)[:, None]], 1)
    for n in (1, 7, 32):
        out[f"grid.{n}"] = amg.build_point_grid(n)
    rng = np.random.default_rng(9)
    boxes = torch.from_numpy(rng.integers(0, 120, (200, 4)))
    crop, whole = [90, 30, 210, 160], [0, 0, 210, 200]
    out["edge.boxes"], out["edge.crop"], out["edge.whole"] = boxes, np.array(crop), np.array(whole)
    out["edge.near"] = amg.is_box_near_crop_edge(boxes, crop, whole)
    return out


def main():
    sam, hq = (Path(p) for p in sys.argv[1:3])
    sys.path[:0] = [str(sam), str(hq / "train")]
    from segment_anything.utils import amg
    from utils.misc import boundary_iou

    rng = np.random.default_rng(8)
    tensors = {**mask_cases(drawn_masks(rng), amg, boundary_iou), **nms_cases(rng), **generator_cases(amg)}
    save_fixture(HERE / "masks_reference.safetensors", tensors, Versions(sam, hq))


if __name__ == "__main__":
    main()
