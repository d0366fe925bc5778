"""sam_photo_*: the references' predictors, whole, on photographs: from the JPEG file to masks of its size."""

import json

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco

import rule
from reference import HERE, save_fixture
from reference_sam import build_micro, give_rule

ROOT = HERE.parent.parent
LARGE = json.loads((ROOT / "tests/segment/prompts.json").read_text())
SMALL = [
    {"name": "point", "points": [[100, 60, 1]], "multimask": True},
    {"name": "points", "points": [[100, 60, 1], [30.5, 130, 0]]},
    {"name": "box", "box": [40, 20.25, 180, 140]},
    {"name": "both", "box": [40, 20.25, 180, 140], "points": [[80, 80, 0]]},
    {"name": "again", "points": [[100, 60, 1], [30.5, 130, 0]], "mask": "points"},
]
WAYS = {"": {}, "only.": {"hq_token_only": True}}


def ask(predictor, prompt, earlier, way):
    points = np.array(prompt["points"], float) if "points" in prompt else None
    return predictor.predict(
        point_coords=None if points is None else points[:, :2],
        point_labels=None if points is None else points[:, 2],
        box=np.array(prompt["box"], float) if "box" in prompt else None,
        mask_input=earlier,
        multimask_output=prompt.get("multimask", False),
        return_logits=True,
        **way,
    )


def runs_of(mask):
    """COCO's compressed runs, the text's bytes."""
    return np.frombuffer(coco.encode(np.asfortranarray(mask, np.uint8))["counts"], np.uint8)


def answers(predictor, hq, photo, prompts, stride):
    """The embedding and every prompt's answer. Large tensors as sketches, and at every stride-th row and column."""
    predictor.set_image(photo)
    embedding = predictor.features[0]
    tensors = {"embedding": embedding[:, ::stride, ::stride], "sketch.embedding": rule.sketch("embedding", embedding)[None]}
    for tag, way in WAYS.items() if hq else [("", {})]:
        low_of = {}
        for prompt in prompts:
            name = tag + prompt["name"]
            full, iou, low = ask(predictor, prompt, low_of.get(prompt.get("mask")), way)
            low_of[prompt["name"]] = low[:1]
            inside = full > 0
            print(f"    {name}: iou {iou.round(3)}, inside {inside.mean((1, 2)).round(3)}, std {low.std((1, 2)).round(2)}")
            tensors[f"{name}.low"] = low[:, ::stride, ::stride]
            tensors[f"sketch.{name}.low"] = rule.sketch(f"{name}.low", low)[None]
            tensors[f"{name}.iou"] = iou
            for i, text in enumerate(map(runs_of, inside) if tag == "" or prompt["name"] == "box" else ()):
                tensors[f"{name}.runs.{i}"] = text
            if "points" in prompt:
                tensors[f"{prompt['name']}.points"] = np.array(prompt["points"], np.float32)
            if "box" in prompt:
                tensors[f"{prompt['name']}.box"] = np.array(prompt["box"], np.float32)
    return tensors


def make_one(ref, out, name, predictor, hq, photo, height, prompts, stride):
    pixels = np.asarray(Image.open(photo).convert("RGB"))[:height]
    with torch.no_grad():
        tensors = answers(predictor, hq, pixels, prompts, stride)
    save_fixture(out / f"sam_photo_{name}.safetensors", tensors, ref, photo=photo.name, height=height, stride=stride)


def make_small(ref, out):
    photo = HERE / "photos" / "coffee_224.jpg"
    for hq, package in ((False, ref.sam), (True, ref.hq)):
        predictor = package.SamPredictor(build_micro(package, hq, 128))
        make_one(ref, out, "hq_micro" if hq else "micro", predictor, hq, photo, 150, SMALL, 1)


def make_large(ref, out, name, build, package, hq, photos):
    predictor = package.SamPredictor(give_rule(build()))
    for photo in photos:
        file = ROOT / "../shared/data/photos" / f"{photo}.jpg"
        make_one(ref, out, f"{name}_{photo}", predictor, hq, file, None, LARGE[file.name], 8)


def make(ref, out):
    make_small(ref, out)
    make_large(ref, out, "mobile", ref.mobile.sam_model_registry["vit_t"], ref.mobile, False, ("truck", "dog"))
    make_large(ref, out, "hq_mobile", ref.hq.sam_model_registry["vit_tiny"], ref.hq, True, ("truck",))
    make_large(ref, out, "base", ref.sam.sam_model_registry["vit_b"], ref.sam, False, ("truck",))
    make_large(ref, out, "hq_base", ref.hq.sam_model_registry["vit_b"], ref.hq, True, ("truck",))
