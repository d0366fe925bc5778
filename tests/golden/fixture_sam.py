"""sam_micro and sam_hq_micro: SAM and HQ-SAM at a small size, outputs and gradients."""

from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from reference import photo_pixels, save_fixture
from reference_sam import build_micro, rule_sketches

SIDE = 128
PHOTOS = ("chelsea_224", "coffee_224")
HEIGHT = (224, 150)  # the second photograph is cut: the square is padded below
# image, points (x, y, label), box: in pixels of the square the encoder sees
PROMPTS = {
    "point": (0, [(60.5, 40, 1)], None),
    "points": (1, [(30, 50, 1), (90.25, 10, 0)], None),
    "box": (1, [], (20, 15, 100, 80)),
    "both": (0, [(110, 100.75, 0)], (10.5, 30, 90, 120)),
}
TRAINED = {  # three prompts of three tokens, about both images
    "t0": (0, [(70, 64, 1), (5, 100, 0)], None),
    "t1": (1, [(64, 40, 1)], (30, 10, 90, 70)),
    "t2": (1, [(12, 80, 0)], (0, 0, 60, 84)),
}
LOSS_POINTS = 500


def embed(model, hq, transform):
    images = []
    for name, height in zip(PHOTOS, HEIGHT):
        pixels = transform.apply_image(photo_pixels(name)[:height])
        images.append(model.preprocess(torch.as_tensor(pixels).permute(2, 0, 1)[None]))
    images = torch.cat(images)
    if hq:
        embedding, early = model.image_encoder(images)
        return images, embedding, early[0]
    kept = []
    hook = model.image_encoder.blocks[3].register_forward_hook(lambda *a: kept.append(a[2]))
    embedding = model.image_encoder(images)
    hook.remove()
    return images, embedding, kept[0]


def encode_prompt(model, prompt, mask=None):
    """Sparse and dense embeddings; and the tokens as lethe is given them: [1, n, 3], [1, n]."""
    _, points, box = prompt
    coords = torch.tensor([[p[:2] for p in points]], dtype=torch.float32)
    labels = torch.tensor([[p[2] for p in points]], dtype=torch.int32)
    corners = None if box is None else torch.tensor([box], dtype=torch.float32)
    sparse, dense = model.prompt_encoder((coords, labels) if points else None, corners, mask)
    tokens = [((x + 0.5) / SIDE, (y + 0.5) / SIDE, 1) for x, y, _ in points]
    kinds = [p[2] for p in points]
    if box is None:
        tokens, kinds = [*tokens, (0, 0, 0)], [*kinds, -1]
    else:
        tokens += [((box[i] + 0.5) / SIDE, (box[i + 1] + 0.5) / SIDE, 1) for i in (0, 2)]
        kinds += [2, 3]
    return sparse, dense, np.array([tokens]), np.array([kinds], np.int32)


def decode(model, hq, embedding, early, sparse, dense):
    """All masks, [1, 4 or 5, 32, 32], and predicted IoUs."""
    decoder, place = model.mask_decoder, model.prompt_encoder.get_dense_pe()
    rest = {}
    if hq:
        rest["hq_features"] = decoder.embedding_encoder(embedding) + decoder.compress_vit_feat(early.permute(0, 3, 1, 2))
    return decoder.predict_masks(
        image_embeddings=embedding, image_pe=place, sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, **rest
    )


def answer(model, hq, seen, prompt, mask=None):
    """The decoder's answer to one prompt, and what is stored of it."""
    at = slice(prompt[0], prompt[0] + 1)
    sparse, dense, tokens, kinds = encode_prompt(model, prompt, mask)
    masks, iou = decode(model, hq, seen[1][at], seen[2][at], sparse, dense)
    kept = {"point": tokens, "label": kinds, "image": np.array([prompt[0]], np.int32)}
    kept.update(sparse=sparse, mask=masks[:, :4], iou=iou)
    if hq:
        kept["fine"] = masks[:, 4:]
    return masks, iou, dense, kept


def store(tensors, name, kept):
    tensors.update({f"{name}.{k}": v.detach() if isinstance(v, torch.Tensor) else v for k, v in kept.items()})


def targets(images):
    """One mask an image: where it is brighter than on average, [2, 1, 32, 32]."""
    grey = F.interpolate(images.mean(1, keepdim=True), (SIDE // 4, SIDE // 4), mode="area")
    return (grey > grey.mean((2, 3), keepdim=True)).float()


def losses(ref, masks, iou, truth, wanted, places):
    """20 focal + dice + mean squared error of the IoUs, each mask's mean, summed over masks; and HQ's on given
    points. truth [N, 1, h, w], wanted [N, 4]."""
    whole = truth.expand(-1, 4, -1, -1).flatten(0, 1).flatten(1)
    flat = masks[:, :4].flatten(0, 1).flatten(1)
    focal = sigmoid_focal_loss(flat, whole, alpha=0.25, gamma=2, reduction="none").mean(1)
    dice = torch.cat([ref.loss.dice_loss(flat[i : i + 1], whole[i : i + 1], 1).reshape(1) for i in range(len(flat))])
    kept = {"focal": focal.reshape(-1, 4), "dice": dice.reshape(-1, 4), "mse": (iou - wanted).pow(2).mean()}
    total = 20 * focal.sum() + dice.sum() + kept["mse"]
    if masks.shape[1] == 5:
        with mock.patch.object(ref.loss, "get_uncertain_point_coords_with_randomness", lambda *_: places):
            bce, soft = ref.loss.loss_masks(masks[:, 4:], truth, len(masks))
        kept.update(bce=bce, point_dice=soft)
        total = total + bce + soft
    return total, kept


def train(ref, model, hq, seen, tensors):
    """Gradients of every parameter by three prompts without a mask and one with; and those of the outputs."""
    truth = targets(seen[0])
    kept = [answer(model, hq, seen, p) for p in TRAINED.values()]
    masks, iou = torch.cat([k[0] for k in kept]), torch.cat([k[1] for k in kept])
    of = [p[0] for p in TRAINED.values()]
    noisy = 4 * truth[:1] - 2 + torch.randn(1, 1, SIDE // 4, SIDE // 4)
    masks1, iou1, _, kept1 = answer(model, hq, seen, TRAINED["t0"], noisy)
    wanted = torch.rand(4, 4)
    places = torch.rand(4, LOSS_POINTS, 2)
    total, parts = losses(ref, masks, iou, truth[of], wanted[:3], places[:3])
    total1, _ = losses(ref, masks1, iou1, truth[:1], wanted[3:], places[3:])
    (total + total1).backward()
    store(tensors, "train", {"point": np.concatenate([k[3]["point"] for k in kept]),
                             "label": np.concatenate([k[3]["label"] for k in kept]),
                             "of": np.array([of], np.int32), "truth": truth[of].repeat(1, 4, 1, 1),
                             "wanted": wanted[:3], "places": places[:3], "mask": masks[:, :4], "iou": iou,
                             "loss": total, **parts})  # fmt: skip
    store(tensors, "train1", {"point": kept1["point"], "label": kept1["label"], "prompt": noisy,
                              "truth": truth[:1].repeat(1, 4, 1, 1), "wanted": wanted[3:], "places": places[3:],
                              "mask": masks1[:, :4], "iou": iou1, "loss": total1})  # fmt: skip
    if hq:
        store(tensors, "train", {"fine": masks[:, 4:]})
        store(tensors, "train1", {"fine": masks1[:, 4:]})


def make_one(ref, out, hq):
    package = ref.hq if hq else ref.sam
    model = build_micro(package, hq, SIDE)
    torch.manual_seed(5)
    seen = embed(model, hq, package.utils.transforms.ResizeLongestSide(SIDE))
    place = model.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2)
    tensors = {"images": seen[0], "embedding": seen[1].detach(), "early": seen[2].detach().permute(0, 3, 1, 2),
               "place": place}  # fmt: skip
    with torch.no_grad():
        for name, prompt in PROMPTS.items():
            masks, iou, _, kept = answer(model, hq, seen, prompt)
            store(tensors, name, kept)
            print(name, "iou", iou.numpy().round(3), "inside", (masks > 0).float().mean((0, 2, 3)).numpy().round(2),
                  "std", masks.std((0, 2, 3)).numpy().round(2))  # fmt: skip
            if name == "point":
                again = masks[:, 2:3]
        _, _, dense, kept = answer(model, hq, seen, PROMPTS["point"], again)
        store(tensors, "again", {**kept, "prompt": again, "dense": dense})
    train(ref, model, hq, seen, tensors)
    grads = dict(model.named_parameters())
    named = {n: [v, grads[n].grad if n in grads else torch.zeros_like(v)] for n, v in model.state_dict().items()}
    for name, (value, grad) in named.items():
        assert grad is not None, name
    tensors.update(rule_sketches(named))
    name = "sam_hq_micro" if hq else "sam_micro"
    save_fixture(out / f"{name}.safetensors", tensors, ref, photos=PHOTOS, heights=HEIGHT, side=SIDE)


def make(ref, out):
    make_one(ref, out, False)
    make_one(ref, out, True)
