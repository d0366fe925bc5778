"""Loads a model.safetensors written by lethe into the reference's own class and runs it on photographs.

    python compare_export.py REFERENCE MODEL.safetensors [--heads H] [--decoder-heads H] [--photos NAME...]

The class and its sizes follow from the names and shapes in the file; only head counts cannot be seen there.
Prints missing, unexpected and misshapen names and exits 1 if there are any; otherwise loads with strict=True
and prints the loss of a masked autoencoder (both targets) or the logits of a classifier.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import safetensors.torch
import torch

from reference import Reference, photo_batch

PHOTOS = ("astronaut", "chelsea", "coffee")


def count_blocks(weights, prefix):
    """How many different numbers follow the prefix."""
    return len({name[len(prefix) :].split(".")[0] for name in weights if name.startswith(prefix)})


def build_model(ref, weights, heads, decoder_heads):
    """The reference's class at the sizes that the tensors show."""
    width, channels, patch, _ = weights["patch_embed.proj.weight"].shape
    side = round((weights["pos_embed"].shape[1] - 1) ** 0.5)
    norm = partial(torch.nn.LayerNorm, eps=1e-6)
    sizes = dict(img_size=side * patch, patch_size=patch, in_chans=channels, embed_dim=width, mlp_ratio=4)
    sizes.update(depth=count_blocks(weights, "blocks."), num_heads=heads or max(1, width // 64))
    sizes.update(norm_layer=norm)
    if "decoder_embed.weight" in weights:
        sizes.update(decoder_embed_dim=weights["decoder_embed.weight"].shape[0])
        sizes.update(decoder_depth=count_blocks(weights, "decoder_blocks."), decoder_num_heads=decoder_heads)
        return ref.models_mae.MaskedAutoencoderViT(**sizes), sizes
    if "head.weight" not in weights:
        sys.exit("neither decoder_embed.weight nor head.weight is in the file: no whole MAE or classifier")
    sizes.update(num_classes=weights["head.weight"].shape[0], qkv_bias=True)
    sizes.update(global_pool="fc_norm.weight" in weights)
    return ref.models_vit.VisionTransformer(**sizes), sizes


def report_names(model, weights):
    """True if every name and shape agrees."""
    expected = model.state_dict()
    missing, unexpected = sorted(set(expected) - set(weights)), sorted(set(weights) - set(expected))
    misshapen = [n for n in expected if n in weights and expected[n].shape != weights[n].shape]
    for word, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen)):
        print(f"{word}: {', '.join(names) or 'none'}")
    return not (missing or unexpected or misshapen)


def run_model(model, images):
    model.eval()
    with torch.no_grad():
        if not hasattr(model, "decoder_embed"):
            logits = model(images)
            for row in logits.tolist():
                print("class", row.index(max(row)), "logits", [round(v, 4) for v in row[:8]])
            return
        torch.manual_seed(0)
        latent, mask, ids_restore = model.forward_encoder(images, 0.75)
        pred = model.forward_decoder(latent, ids_restore)
        for norm_pix in (True, False):
            model.norm_pix_loss = norm_pix
            print(f"loss, norm_pix {norm_pix}: {model.forward_loss(images, pred, mask).item():.6f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--heads", type=int, help="encoder heads (default: width / 64)")
    parser.add_argument("--decoder-heads", type=int, default=16)
    parser.add_argument("--photos", nargs="+", help="names in photos/, without .jpg, at the model's size")
    args = parser.parse_args()
    ref = Reference(args.reference)
    weights = safetensors.torch.load_file(args.model)
    model, sizes = build_model(ref, weights, args.heads, args.decoder_heads)
    print(type(model).__name__, {k: v for k, v in sizes.items() if k != "norm_layer"})
    if not report_names(model, weights):
        return 1
    model.load_state_dict({k: v.float() for k, v in weights.items()}, strict=True)
    side = sizes["img_size"]
    names = args.photos or [f"{name}_{224 if side > 64 else 64}" for name in PHOTOS]
    images = photo_batch(*names)
    if images.shape[2] != side:
        images = torch.nn.functional.interpolate(images, (side, side), mode="bicubic", align_corners=False)
    run_model(model, images)
    return 0


if __name__ == "__main__":
    sys.exit(main())
