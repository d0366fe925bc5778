"""sam_masks_micro: the reference's automatic mask generator."""

import numpy as np
import torch
from pycocotools import mask as coco

from reference import photo_pixels, save_fixture
from reference_sam import build_micro

PHOTO, HEIGHT = "coffee_224", 150
COMMON = dict(points_per_side=8, points_per_batch=20, crop_n_layers=1, pred_iou_thresh=0.3, crop_overlap_ratio=0.3,
              stability_score_thresh=0.3, stability_score_offset=0.05, box_nms_thresh=0.8, output_mode="coco_rle")  # fmt: skip
CASES = {
    "whole": dict(COMMON, crop_n_layers=0),
    "crops": dict(COMMON, crop_nms_thresh=0.75),
    "area": dict(COMMON, crop_nms_thresh=0.75, min_mask_region_area=150, crop_n_points_downscale_factor=2),
}


def make_local(model):
    """Weights by the rule give masks that are scattered all over the picture, so that every box is the whole
    picture. Smooth upscaling, sharper attention to the picture and a lower level make islands of them."""
    decoder = model.mask_decoder
    attention = [layer.cross_attn_token_to_image for layer in decoder.transformer.layers]
    with torch.no_grad():
        for i in (0, 3):
            weight = decoder.output_upscaling[i].weight
            weight.copy_(weight[:, :, :1, :1].clone().expand_as(weight))
        for part in (*attention, decoder.transformer.final_attn_token_to_image):
            part.q_proj.weight.mul_(4)
        for mlp in decoder.output_hypernetworks_mlps:
            mlp.layers[2].bias.sub_(0.05)


def margins(generator):
    """How near any filtered value came to its threshold: rounding must not decide."""
    seen = {"iou": 1.0, "stability": 1.0}
    wanted = {"iou": generator.pred_iou_thresh, "stability": generator.stability_score_thresh}
    module = __import__(type(generator).__module__, fromlist=["x"])
    score = module.calculate_stability_score

    def watch(masks, threshold, offset):
        value = score(masks, threshold, offset)
        near = (value - wanted["stability"]).abs()
        seen["stability"] = min(seen["stability"], float(near[~near.isnan()].min()))
        return value

    predict = generator.predictor.predict_torch

    def ask(*args, **rest):
        out = predict(*args, **rest)
        seen["iou"] = min(seen["iou"], float((out[1] - wanted["iou"]).abs().min()))
        return out

    module.calculate_stability_score, generator.predictor.predict_torch = watch, ask
    return seen, lambda: setattr(module, "calculate_stability_score", score)


def records(tensors, name, found):
    kept = {"boxes": "bbox", "crops": "crop_box", "iou": "predicted_iou", "stability": "stability_score"}
    for key, theirs in kept.items():  # boxes are x, y, width, height
        tensors[f"{name}.{key}"] = np.array([r[theirs] for r in found], np.float32)
    tensors[f"{name}.points"] = np.array([r["point_coords"][0] for r in found], np.float32)
    tensors[f"{name}.areas"] = np.array([r["area"] for r in found], np.int32)
    for i, r in enumerate(found):
        tensors[f"{name}.runs.{i}"] = np.frombuffer(r["segmentation"]["counts"].encode(), np.uint8)
        assert coco.area(r["segmentation"]) == r["area"]


def make(ref, out):
    model = build_micro(ref.sam, False, 128)
    make_local(model)
    pixels = photo_pixels(PHOTO)[:HEIGHT]
    tensors, notes = {}, {}
    for name, settings in CASES.items():
        generator = ref.sam.SamAutomaticMaskGenerator(model, **settings)
        seen, undo = margins(generator)
        found = generator.generate(pixels)
        undo()
        records(tensors, name, found)
        crops = len({tuple(r["crop_box"]) for r in found})
        notes[name] = f"{settings}: {len(found)} masks of {crops} crops"
        notes[f"margin_{name}"] = f"iou {seen['iou']:.1e}, stability {seen['stability']:.1e}"
    save_fixture(out / "sam_masks_micro.safetensors", tensors, ref, photo=PHOTO, height=HEIGHT, **notes)
