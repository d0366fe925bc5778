"""Loads a model.safetensors of a segmentation run of lethe into the references' own classes and asks it.

    python compare_export_sam.py SEGMENT_ANYTHING SAM_HQ MOBILE_SAM MODEL.safetensors PHOTO [--point X Y]

Which class and size follows from the names and shapes in the file. Prints missing, unexpected and misshapen names
and exits 1 if there are any; otherwise loads with strict=True and prints the
predicted IoUs of a point and how many pixels each mask has: `lethe segment --checkpoint MODEL.safetensors PHOTO
--point X,Y --multimask` says the same.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import safetensors.torch
from PIL import Image

from reference_sam import SamReference, build_micro

BUILDERS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}

def build_model(ref, weights):
    """The package and the model that the tensors show."""
    hq = "mask_decoder.hf_token.weight" in weights
    if "image_encoder.pos_embed" not in weights:
        package, name = (ref.hq, "vit_tiny") if hq else (ref.mobile, "vit_t")
        return package, package.sam_model_registry[name]()
    _, grid, _, width = weights["image_encoder.pos_embed"].shape
    package = ref.hq if hq else ref.sam
    if width == 64:
        return package, build_micro(package, hq, 16 * grid)
    return package, package.sam_model_registry[BUILDERS[width]]()


def report_names(expected, weights):
    """True if every name and shape agrees."""
    missing = sorted(set(expected) - set(weights))
    unexpected = sorted(set(weights) - set(expected))
    misshapen = [n for n in expected if n in weights and expected[n].shape != weights[n].shape]
    for word, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen)):
        print(f"{word}: {', '.join(names) or 'none'}")
    return not (missing or unexpected or misshapen)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("sam", "hq", "mobile", "model", "photo"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--point", type=float, nargs=2)
    args = parser.parse_args()
    ref = SamReference(args.sam, args.hq, args.mobile)
    weights = safetensors.torch.load_file(args.model)
    package, model = build_model(ref, weights)
    expected = model.state_dict()
    if not report_names(expected, weights):
        return 1
    model.load_state_dict(weights, strict=True)
    model.eval()
    predictor = package.SamPredictor(model)
    photo = np.asarray(Image.open(args.photo).convert("RGB"))
    predictor.set_image(photo)
    point = args.point or (photo.shape[1] / 2, photo.shape[0] / 2)
    masks, iou, _ = predictor.predict(np.array([point]), np.array([1]), multimask_output=True)
    for score, mask in zip(iou.tolist(), masks):
        print(f"predicted IoU {score:.6f}, {int(mask.sum())} pixels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
