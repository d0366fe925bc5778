"""vit_finetune: the reference's classifier with its losses and layer-wise decay; positions, LARS, schedule."""

import types
from functools import partial

import torch

from fixture_mae import perturb
from reference import photo_batch, save_fixture

CLASSES, SIZES = 10, dict(img_size=64, patch_size=8, embed_dim=64, depth=3, num_heads=2)
LABELS, LAM, SMOOTHING = [3, 7, 0, 3], 0.3, 0.1
PHOTOS = ("astronaut_64", "chelsea_64", "coffee_64", "rocket_64")
LR, DECAY, LAYER_DECAY = 1e-3, 0.05, 0.65


def make_model(ref, pool):
    norm = partial(torch.nn.LayerNorm, eps=1e-6)
    return ref.models_vit.VisionTransformer(
        global_pool=pool, num_classes=CLASSES, mlp_ratio=4, qkv_bias=True, norm_layer=norm, **SIZES
    )


def make_weights(ref):
    """One set for both models: `norm` for the cls token, `fc_norm` for the mean of the patches."""
    torch.manual_seed(22)
    weights = {}
    for pool in (False, True):
        model = make_model(ref, pool)
        perturb(model)
        with torch.no_grad():
            model.head.weight.normal_(std=0.1)
        for name, value in model.state_dict().items():
            weights.setdefault(name, value)
    return weights


def run_model(ref, weights, pool):
    """Both losses with both gradients; from the label-smoothed one an AdamW step with layer-wise lr decay."""
    name = "pool" if pool else "cls"
    images, labels = photo_batch(*PHOTOS), torch.tensor(LABELS)
    soft = ref.timm.data.mixup.mixup_target(labels, CLASSES, LAM, SMOOTHING, "cpu")
    criteria = {
        "smooth": (ref.timm.loss.LabelSmoothingCrossEntropy(SMOOTHING), labels),
        "soft": (ref.timm.loss.SoftTargetCrossEntropy(), soft),
    }
    out = {}
    for kind, (criterion, target) in criteria.items():
        model = make_model(ref, pool)
        model.load_state_dict({k: weights[k].clone() for k in model.state_dict()}, strict=True)
        logits = model(images)
        loss = criterion(logits, target)
        loss.backward()
        out[f"{name}.logits"] = logits
        out[f"{name}.loss_{kind}"] = loss
        if pool == (kind == "smooth"):
            out.update({f"{name}.grad.{n}": p.grad for n, p in model.named_parameters()})
        if pool and kind == "smooth":
            out.update(step_with_decay(ref, model))
    return out


def step_with_decay(ref, model):
    names = {id(p): n for n, p in model.named_parameters()}
    groups = ref.lr_decay.param_groups_lrd(
        model, DECAY, no_weight_decay_list=model.no_weight_decay(), layer_decay=LAYER_DECAY
    )
    out = {}
    for group in groups:
        for p in group["params"]:
            out[f"lrd.{names[id(p)]}"] = torch.tensor([group["lr_scale"], group["weight_decay"]])
    optimizer = torch.optim.AdamW(groups, lr=LR)
    args = types.SimpleNamespace(lr=LR, min_lr=1e-6, warmup_epochs=5, epochs=100)
    out["pool.after_lr"] = torch.tensor(ref.lr_sched.adjust_learning_rate(optimizer, 2.5, args))
    optimizer.step()
    out.update({f"pool.after.{n}": p for n, p in model.named_parameters()})
    return out


def run_probe(ref, weights):
    """Linear probe (main_linprobe.py): batch norm without affine, linear head, cross entropy, LARS."""
    model = make_model(ref, False)
    model.load_state_dict({k: weights[k] for k in model.state_dict()}, strict=True)
    with torch.no_grad():
        features = model.forward_features(photo_batch(*PHOTOS))
    norm = torch.nn.BatchNorm1d(SIZES["embed_dim"], affine=False, eps=1e-6)
    head = torch.nn.Sequential(norm, model.head)
    logits = head(features)
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(LABELS))
    model.zero_grad()
    loss.backward()
    out = {"features": features, "logits": logits, "loss": loss, "running_mean": norm.running_mean}
    out.update({"running_var": norm.running_var, "grad.head.weight": model.head.weight.grad.clone()})
    out["grad.head.bias"] = model.head.bias.grad.clone()
    ref.lars.LARS(model.head.parameters(), lr=0.3, weight_decay=0).step()
    out.update({"after.head.weight": model.head.weight, "after.head.bias": model.head.bias})
    head.eval()
    out["logits_eval"] = head(features)
    return {f"probe.{k}": v for k, v in out.items()}


def run_lars(ref):
    """Three steps with weight decay: a matrix, a bias, a zero matrix, a matrix whose gradients are zero."""
    torch.manual_seed(23)
    shapes = {"matrix": (4, 6), "bias": (6,), "zero": (3, 2), "still": (2, 3)}
    params = {n: torch.nn.Parameter(torch.randn(s)) for n, s in shapes.items()}
    params["zero"].data.zero_()
    out = {f"lars.start.{n}": p.detach().clone() for n, p in params.items()}
    optimizer = ref.lars.LARS(params.values(), lr=0.5, weight_decay=0.01)
    for t in range(1, 4):
        for n, p in params.items():
            p.grad = torch.zeros(p.shape) if n == "still" else torch.randn(p.shape)
            out[f"lars.grad{t}.{n}"] = p.grad.clone()
        optimizer.step()
        out.update({f"lars.after{t}.{n}": p.detach().clone() for n, p in params.items()})
    return out


def run_schedule(ref):
    """Rows of epoch and learning rate, and the four settings that made them."""
    out = {}
    for name, values in {"pretrain": (1.5e-4, 0.0, 40, 800), "finetune": (5e-4, 1e-6, 5, 100)}.items():
        lr, floor, warmup, epochs = values
        args = types.SimpleNamespace(lr=lr, min_lr=floor, warmup_epochs=warmup, epochs=epochs)
        optimizer = types.SimpleNamespace(param_groups=[])
        at = [0, 0.25, 1, warmup / 2, warmup - 0.375, warmup, warmup + 0.125]  # exact in float32
        at += [epochs // 3, epochs / 2, epochs - 0.5, epochs]
        rows = [[e, ref.lr_sched.adjust_learning_rate(optimizer, e, args)] for e in at]
        out[f"schedule.{name}"] = torch.tensor(rows, dtype=torch.float64)
        out[f"schedule.{name}.args"] = torch.tensor(values, dtype=torch.float64)
    return out


def run_pos_embed(ref):
    """interpolate_pos_embed from one grid to another; the cls row stays."""
    torch.manual_seed(24)
    out = {}
    for old, new, dim in ((4, 6, 8), (14, 20, 4), (14, 9, 4)):
        start = torch.randn(1, 1 + old * old, dim)
        checkpoint = {"pos_embed": start}
        patches = types.SimpleNamespace(num_patches=new * new)
        model = types.SimpleNamespace(patch_embed=patches, pos_embed=torch.zeros(1, 1 + new * new, dim))
        ref.pos_embed.interpolate_pos_embed(model, checkpoint)
        out[f"pos.{old}to{new}.in"], out[f"pos.{old}to{new}.out"] = start, checkpoint["pos_embed"]
    for grid, dim in ((4, 8), (14, 16)):
        table = ref.pos_embed.get_2d_sincos_pos_embed(dim, grid, cls_token=True)
        out[f"pos.sincos{grid}"] = torch.from_numpy(table)
    return out


def make(ref, out):
    weights = make_weights(ref)
    labels = torch.tensor(LABELS)
    tensors = {f"weight.{n}": v for n, v in weights.items()}
    tensors.update({"images": photo_batch(*PHOTOS), "labels": labels})
    tensors["soft_targets"] = ref.timm.data.mixup.mixup_target(labels, CLASSES, LAM, SMOOTHING, "cpu")
    for pool in (True, False):
        tensors.update(run_model(ref, weights, pool))
    tensors.update({**run_probe(ref, weights), **run_lars(ref), **run_schedule(ref), **run_pos_embed(ref)})
    save_fixture(
        out / "vit_finetune.safetensors", tensors, ref, photos=PHOTOS, sizes=SIZES, classes=CLASSES, lr=LR,
        betas=(0.9, 0.999), weight_decay=DECAY, layer_decay=LAYER_DECAY, smoothing=SMOOTHING, mixup_lam=LAM,
    )
