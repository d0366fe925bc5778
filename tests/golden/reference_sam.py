"""Opens the public SAM, HQ-SAM and MobileSAM packages side by side; builds their models with weights by the rule."""

import importlib
import sys
from functools import partial

import cv2
import numpy as np
import PIL
import timm
import torch
import torchvision

import rule
from reference import checkout_commit


def import_package(folder, name):
    """The package NAME of `folder`, whatever package of that name was imported before."""
    for loaded in [m for m in sys.modules if m.split(".")[0] == name]:
        del sys.modules[loaded]
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


class SamReference:
    """The packages as attributes; `versions` goes into every fixture's metadata."""

    def __init__(self, sam, hq, mobile):
        self.mobile = import_package(mobile, "mobile_sam")
        self.hq = import_package(hq, "segment_anything")
        self.sam = import_package(sam, "segment_anything")
        import_package(hq / "train", "utils")
        self.loss = importlib.import_module("utils.loss_mask")
        self.versions = {
            "segment_anything_commit": checkout_commit(sam),
            "sam_hq_commit": checkout_commit(hq),
            "mobile_sam_commit": checkout_commit(mobile),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "timm": timm.__version__,
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "opencv": cv2.__version__,
        }


def give_rule(model):
    """Every parameter and buffer of the state dict by the rule; counters stay."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.dtype == torch.float32:
                value.copy_(torch.from_numpy(rule.weight(name, tuple(value.shape))))
    return model.eval()  # TinyViT takes its bias tables here


def build_micro(package, hq, side):
    """SAM at our own size: width 64, 4 blocks, 2 heads, window 7, the last block global."""
    parts = package.modeling
    common = dict(num_multimask_outputs=3, transformer_dim=256, iou_head_depth=3, iou_head_hidden_dim=256)
    common.update(transformer=parts.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8))
    grid = side // 16
    model = parts.Sam(
        image_encoder=parts.ImageEncoderViT(
            depth=4, embed_dim=64, img_size=side, mlp_ratio=4, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=2, patch_size=16, qkv_bias=True, use_rel_pos=True, global_attn_indexes=[3], window_size=7,
            out_chans=256,
        ),
        prompt_encoder=parts.PromptEncoder(
            embed_dim=256, image_embedding_size=(grid, grid), input_image_size=(side, side), mask_in_chans=16
        ),
        mask_decoder=parts.MaskDecoderHQ(vit_dim=64, **common) if hq else parts.MaskDecoder(**common),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )  # fmt: skip
    return give_rule(model)


def rule_sketches(named):
    """{"sketch.NAME": [rows, 17]} of {NAME: tensors}."""
    return {f"sketch.{n}": np.stack([rule.sketch(n, v) for v in values]) for n, values in named.items()}
