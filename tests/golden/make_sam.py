"""Makes the golden fixtures of promptable segmentation with the public references.

    python make_sam.py SEGMENT_ANYTHING SAM_HQ MOBILE_SAM OUT [--only FIXTURE...]

The first three are checkouts (or exported trees with the commit in a file COMMIT), OUT is the folder to write to
(this one). Needs gcc, torch, torchvision, timm, numpy, pillow, opencv and pycocotools.
"""

import argparse
from pathlib import Path

import torch

import fixture_sam
import fixture_sam_masks
import fixture_sam_photo
import rule
from reference_sam import SamReference

FIXTURES = {"micro": fixture_sam, "photo": fixture_sam_photo, "masks": fixture_sam_masks}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("sam", "hq", "mobile", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--only", nargs="+", choices=FIXTURES, default=list(FIXTURES), metavar="FIXTURE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rule.check_against_c()
    ref = SamReference(args.sam, args.hq, args.mobile)
    print(", ".join(f"{k} {v}" for k, v in ref.versions.items()))
    for name in args.only:
        FIXTURES[name].make(ref, args.out)


if __name__ == "__main__":
    main()
