"""Compares masks that `lethe segment` made with those of the public MobileSAM.

    python compare_masks.py WEIGHTS.pt PHOTOS OUT

OUT/PHOTO/PROMPT/PHOTO_mask*.png are the masks of the prompts of tests/segment/prompts.json (test_mobile_sam.sh makes
them). Exits 1 if any has an IoU below 0.999 with the reference's.
"""

import json
import sys
from pathlib import Path

import numpy as np
from mobile_sam import SamPredictor, sam_model_registry
from PIL import Image

PROMPTS = Path(__file__).resolve().parents[1] / "segment" / "prompts.json"


def answer(predictor, prompt, logits):
    points = np.array(prompt["points"], float) if "points" in prompt else None
    return predictor.predict(
        point_coords=None if points is None else points[:, :2],
        point_labels=None if points is None else points[:, 2],
        box=np.array(prompt["box"], float) if "box" in prompt else None,
        mask_input=logits,
        multimask_output=prompt.get("multimask", False),
    )


def main():
    weights, photos, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    predictor = SamPredictor(sam_model_registry["vit_t"](weights).eval())
    worst = 1.0
    for photo, prompts in json.loads(PROMPTS.read_text()).items():
        predictor.set_image(np.asarray(Image.open(photos / photo).convert("RGB")))
        low_of = {}
        for prompt in prompts:
            masks, _, low = answer(predictor, prompt, low_of.get(prompt.get("mask")))
            low_of[prompt["name"]] = low[:1]
            stem = out / Path(photo).stem / prompt["name"] / Path(photo).stem
            for i, want in enumerate(masks):
                got = np.asarray(Image.open(f"{stem}_mask{i if len(masks) > 1 else ''}.png")) > 127
                iou = (got & want).sum() / max(1, (got | want).sum()) if want.any() or got.any() else 1.0
                print(f"{photo} {prompt['name']} {i}: IoU {iou:.6f}")
                worst = min(worst, iou)
    return 1 if worst < 0.999 else 0


if __name__ == "__main__":
    sys.exit(main())
