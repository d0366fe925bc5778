"""mae_micro, mae_tiny and mae_vitb: the reference's MaskedAutoencoderViT on photographs."""

import copy
from functools import partial

import numpy as np
import torch

import rule
from reference import distance, given_noise, photo_batch, save_fixture

LR, BETAS, DECAY = 1e-3, (0.9, 0.95), 0.05  # main_pretrain.py, with lr fixed


def make_optimizer(ref, model):
    groups = ref.timm.optim.optim_factory.add_weight_decay(model, DECAY)
    return torch.optim.AdamW(groups, lr=LR, betas=BETAS)


def make_model(ref, **sizes):
    return ref.models_mae.MaskedAutoencoderViT(
        mlp_ratio=4, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), norm_pix_loss=True, **sizes
    )


def perturb(model):
    """Biases leave zero and norms leave one, so that a forgotten bias or gain shows."""
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 1:
                p += torch.randn(p.shape) * 0.05


def rule_weights(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                p.copy_(torch.from_numpy(rule.weight(name, tuple(p.shape))))


def step(ref, model, images, noise, ratio):
    """Forward, backward of the norm-pix loss, one AdamW step. Returns what was seen on the way."""
    with given_noise(noise):
        latent, mask, ids_restore = model.forward_encoder(images, ratio)
    pred = model.forward_decoder(latent, ids_restore)
    loss = model.forward_loss(images, pred, mask)
    model.norm_pix_loss = False
    plain = model.forward_loss(images, pred, mask)
    model.norm_pix_loss = True
    loss.backward()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    make_optimizer(ref, model).step()
    seen = {"latent": latent, "pred": pred, "mask": mask, "loss_norm_pix": loss, "loss_plain": plain}
    grads = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    after = {n: p.detach() for n, p in model.named_parameters()}
    return seen, ids_restore, grads, before, after


def drop_key_bias(name, value):
    """A copy of `value` with the key third of a qkv bias set to zero. Softmax does not see that bias: its
    gradient is rounding noise, which AdamW would blow up into a step."""
    value = value.detach().clone()
    if name.endswith("qkv.bias"):
        third = value.shape[0] // 3
        value[third : 2 * third] = 0
    return value


def own_noise(ref, model, images, noise, ratio, single):
    """How far the float32 run `single` lies from the same run in float64: the floor of any tolerance."""
    seen, _, grads, before, after = step(ref, model.double(), images.double(), noise.double(), ratio)
    seen1, _, grads1, _, after1 = single
    lines = {f"f32_distance_{k}": f"{distance(seen1[k], seen[k]):.1e}" for k in seen if k != "mask"}
    assert torch.equal(seen["mask"].float(), seen1["mask"])
    worst = max((distance(grads1[n], grads[n]), n) for n in grads)
    lines["f32_distance_grad_worst"] = f"{worst[0]:.1e} ({worst[1]})"
    moved = {n: (drop_key_bias(n, after[n]), drop_key_bias(n, after1[n])) for n in grads}
    worst = max((distance(b, a), n) for n, (a, b) in moved.items())
    lines["f32_distance_after_worst"] = f"{worst[0]:.1e} ({worst[1]})"
    all64, all32 = (torch.cat([pair[i].double().reshape(-1) for pair in moved.values()]) for i in (0, 1))
    old = torch.cat([drop_key_bias(n, before[n]).double().reshape(-1) for n in moved])
    lines["f32_distance_after_all"] = f"{distance(all32, all64):.1e}"
    lines["f32_distance_update_all"] = f"{distance(all32 - old, all64 - old):.1e}"
    return lines


def made_up_update(ref, model):
    """One AdamW step from the weights as they stand with the gradients of rule.gradient."""
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.grad = torch.from_numpy(rule.gradient(name, tuple(p.shape)))
    make_optimizer(ref, model).step()
    return {n: p.detach().double() - before[n].double() for n, p in model.named_parameters()}


def base_tensors(images, noise, seen, ids_restore):
    return {"images": images, "noise": noise, "ids_restore": ids_restore, **seen}


def make_whole(ref, out, name, photos, ratio, crop, **sizes):
    """Every weight, gradient and updated weight is stored."""
    torch.manual_seed(20)
    model = make_model(ref, **sizes)
    perturb(model)
    window = slice(crop, crop + sizes["img_size"])
    images = photo_batch(*photos)[:, :, window, window].contiguous()
    noise = torch.rand(images.shape[0], model.patch_embed.num_patches)
    double = copy.deepcopy(model)
    single = step(ref, model, images, noise, ratio)
    seen, ids_restore, grads, before, after = single
    tensors = base_tensors(images, noise, seen, ids_restore)
    tensors.update({f"weight.{n}": v for n, v in before.items()})
    tensors.update({f"grad.{n}": v for n, v in grads.items()})
    tensors.update({f"after.{n}": after[n] for n in grads})
    lines = own_noise(ref, double, images, noise, ratio, single)
    path = out / f"{name}.safetensors"
    save_fixture(path, tensors, ref, photos=photos, mask_ratio=ratio, sizes=sizes, **lines)


def make_by_rule(ref, out, name, photos, ratio, whole_below, **sizes):
    """Weights by the rule; of each parameter a sketch [4, 17]: weight, gradient, update, update from a made-up
    gradient. Gradients of at most `whole_below` elements are stored whole besides."""
    model = make_model(ref, **sizes)
    rule_weights(model)
    images = photo_batch(*photos)
    torch.manual_seed(21)
    noise = torch.rand(images.shape[0], model.patch_embed.num_patches)
    made_up, double = copy.deepcopy(model), copy.deepcopy(model)
    single = step(ref, model, images, noise, ratio)
    seen, ids_restore, grads, before, after = single
    made_up = made_up_update(ref, made_up)
    tensors = base_tensors(images, noise, seen, ids_restore)
    for n, old in before.items():
        rows = np.zeros((4, 1 + rule.PROJECTIONS))
        rows[0] = rule.sketch(n, old)
        if n in grads:
            rows[1] = rule.sketch(n, grads[n])
            rows[2] = rule.sketch(n, drop_key_bias(n, after[n].double() - old.double()))
            rows[3] = rule.sketch(n, made_up[n])
            if grads[n].numel() <= whole_below:
                tensors[f"grad.{n}"] = grads[n]
        tensors[f"sketch.{n}"] = rows
    probe = before["blocks.0.attn.qkv.weight"].reshape(-1)
    tensors["rule_probe"] = torch.cat([probe[:8], probe[-8:]])
    lines = own_noise(ref, double, images, noise, ratio, single)
    path = out / f"{name}.safetensors"
    save_fixture(path, tensors, ref, photos=photos, mask_ratio=ratio, sizes=sizes, **lines)


def make(ref, out):
    micro = dict(img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=2)
    micro.update(decoder_embed_dim=48, decoder_depth=1, decoder_num_heads=3)
    make_whole(ref, out, "mae_micro", ("astronaut_64", "chelsea_64"), 0.6, 16, **micro)
    tiny = dict(img_size=64, patch_size=16, embed_dim=192, depth=12, num_heads=3)
    tiny.update(decoder_embed_dim=128, decoder_depth=2, decoder_num_heads=4)
    make_by_rule(ref, out, "mae_tiny", ("coffee_64", "rocket_64"), 0.75, 1000, **tiny)
    base = dict(img_size=224, patch_size=16, embed_dim=768, depth=12, num_heads=12)
    base.update(decoder_embed_dim=512, decoder_depth=8, decoder_num_heads=16)
    make_by_rule(ref, out, "mae_vitb", ("astronaut_224", "chelsea_224"), 0.75, 0, **base)
