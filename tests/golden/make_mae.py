"""Makes every golden fixture of this folder with the public MAE reference.

    python make_mae.py REFERENCE OUT [--only FIXTURE...]

REFERENCE is a checkout of facebookresearch/mae (or an exported tree with the commit in a file COMMIT), OUT the
folder to write to (this one), FIXTURE any of: mae vit resize ops. Needs gcc, torch, torchvision, numpy, pillow
and timm==0.3.2 (pip install --no-deps timm==0.3.2).
"""

import argparse
from pathlib import Path

import torch

import fixture_mae
import fixture_ops
import fixture_resize
import fixture_vit
import rule
from reference import Reference

FIXTURES = {"mae": fixture_mae, "vit": fixture_vit, "resize": fixture_resize, "ops": fixture_ops}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", choices=FIXTURES, default=list(FIXTURES), metavar="FIXTURE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rule.check_against_c()
    ref = Reference(args.reference)
    print(", ".join(f"{k} {v}" for k, v in ref.versions.items()))
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        FIXTURES[name].make(ref, args.out)


if __name__ == "__main__":
    main()
