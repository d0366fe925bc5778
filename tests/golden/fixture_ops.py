"""ops_torch: single ops with gradients, and optimizers, computed by torch in float64 and rounded to float32."""

import math

import torch
import torch.nn.functional as F
import torchvision

from reference import save_fixture

# x shape, weight shape, stride, padding, groups, with bias
CONV = [
    ((2, 3, 8, 8), (5, 3, 4, 4), 4, 0, 1, True),
    ((2, 4, 7, 6), (6, 4, 3, 3), 2, 1, 1, True),
    ((1, 6, 5, 5), (6, 1, 3, 3), 1, 1, 6, True),
    ((2, 4, 6, 5), (8, 2, 3, 2), 1, 2, 2, False),
    ((2, 5, 4, 3), (7, 5, 1, 1), 1, 0, 1, True),
]
# x shape, weight shape (in, out / groups, h, w), stride, padding, output padding, groups, with bias
CONV_TRANSPOSE = [
    ((2, 4, 3, 5), (4, 3, 2, 2), 2, 0, 0, 1, True),
    ((1, 4, 4, 3), (4, 3, 3, 3), 2, 1, 1, 2, True),
    ((2, 3, 4, 4), (3, 2, 4, 4), 2, 1, 0, 1, False),
]
# batch, heads, queries, keys, head dim, what is added to the scores
ATTENTION = [
    (2, 3, 7, 7, 32, "none"),
    (1, 2, 17, 17, 80, "none"),
    (2, 2, 9, 9, 16, "causal"),
    (2, 2, 6, 6, 20, "shared"),
    (2, 2, 5, 11, 8, "full"),
]


class Case:
    """Tensors of one op, stored as NAME.key; gradients as NAME.d_key."""

    def __init__(self, store, name):
        self.store, self.name, self.leaves = store, name, {}

    def put(self, **tensors):
        for key, value in tensors.items():
            self.store[f"{self.name}.{key}"] = torch.as_tensor(value).detach().clone()

    def leaf(self, key, *shape, scale=1.0, shift=0.0):
        """A random input that takes a gradient: float32 values, held in float64."""
        value = (torch.randn(shape) * scale + shift).double().requires_grad_()
        self.leaves[key] = value
        self.put(**{key: value})
        return value

    def finish(self, y):
        """Stores y, a random output gradient unless y is a scalar, and the gradient of every leaf."""
        dy = torch.ones(y.shape) if y.ndim == 0 else torch.randn(y.shape)
        self.put(y=y)
        if y.ndim:
            self.put(d_y=dy)
        y.backward(dy.double())
        self.put(**{f"d_{key}": leaf.grad for key, leaf in self.leaves.items()})


def convolutions(store):
    for i, (x, w, stride, padding, groups, bias) in enumerate(CONV):
        c = Case(store, f"conv2d.{i}")
        c.put(args=[stride, padding, groups])
        inputs = c.leaf("x", *x), c.leaf("weight", *w, scale=0.3), c.leaf("bias", w[0]) if bias else None
        c.finish(F.conv2d(*inputs, stride, padding, 1, groups))
    for i, (x, w, stride, padding, extra, groups, bias) in enumerate(CONV_TRANSPOSE):
        c = Case(store, f"conv_transpose2d.{i}")
        c.put(args=[stride, padding, extra, groups])
        inputs = c.leaf("x", *x), c.leaf("weight", *w, scale=0.3)
        inputs += (c.leaf("bias", w[1] * groups) if bias else None,)
        c.finish(F.conv_transpose2d(*inputs, stride, padding, extra, groups))


def norms(store):
    for name, shape in (("batch_norm.0", (4, 3, 5, 4)), ("batch_norm.1", (6, 5))):
        c = Case(store, name)
        mean, var = torch.randn(shape[1]).double(), torch.rand(shape[1]).double() + 0.5
        c.put(running_mean=mean, running_var=var)
        x, w, b = c.leaf("x", *shape, scale=2, shift=1), c.leaf("weight", shape[1]), c.leaf("bias", shape[1])
        c.put(y_eval=F.batch_norm(x, mean, var, w, b, False, 0.1, 1e-5))
        c.finish(F.batch_norm(x, mean, var, w, b, True, 0.1, 1e-5))
        c.put(running_mean_after=mean, running_var_after=var)
    for i, groups in enumerate((1, 2, 6)):
        c = Case(store, f"group_norm.{i}")
        c.put(args=[groups])
        x, w, b = c.leaf("x", 2, 6, 4, 3, scale=2, shift=1), c.leaf("weight", 6), c.leaf("bias", 6)
        c.finish(F.group_norm(x, groups, w, b, 1e-6))
    c = Case(store, "layer_norm.0")
    x, w, b = c.leaf("x", 3, 5, 24, scale=2, shift=1), c.leaf("weight", 24), c.leaf("bias", 24)
    c.finish(F.layer_norm(x, (24,), w, b, 1e-6))
    c = Case(store, "layer_norm2d.0")
    x, w, b = c.leaf("x", 2, 6, 4, 3, scale=2, shift=1), c.leaf("weight", 6), c.leaf("bias", 6)
    c.finish(F.layer_norm(x.permute(0, 2, 3, 1), (6,), w, b, 1e-6).permute(0, 3, 1, 2))


def attention(store):
    for i, (n, heads, queries, keys, dim, kind) in enumerate(ATTENTION):
        c = Case(store, f"attention.{i}")
        q, k, v = (c.leaf(key, n, heads, rows, dim) for key, rows in (("q", queries), ("k", keys), ("v", keys)))
        bias = None
        if kind == "shared":
            bias = c.leaf("bias", 1, heads, queries, keys)
        if kind == "full":
            bias = c.leaf("bias", n, heads, queries, keys)
        c.put(causal=[int(kind == "causal")])
        c.finish(F.scaled_dot_product_attention(q, k, v, bias, 0.0, kind == "causal"))


def pointwise(store):
    c = Case(store, "gelu.0")
    c.finish(F.gelu(c.leaf("x", 4, 33, scale=2)))
    c = Case(store, "softmax.0")
    c.finish(F.softmax(c.leaf("x", 4, 19, scale=3), -1))


def losses(store):
    labels = torch.tensor([2, 0, 6, 6, 3])
    for i, smoothing in enumerate((0.0, 0.1)):
        c = Case(store, f"cross_entropy.{i}")
        c.put(labels=labels, label_smoothing=smoothing)
        c.finish(F.cross_entropy(c.leaf("x", 5, 7, scale=2), labels, label_smoothing=smoothing))
    c = Case(store, "cross_entropy_soft.0")
    target = torch.softmax(torch.randn(5, 7), -1)
    c.put(target=target)
    c.finish(F.cross_entropy(c.leaf("x", 5, 7, scale=2), target.double()))
    c = Case(store, "bce_logits.0")
    target = torch.rand(4, 6)
    c.put(target=target)
    c.finish(F.binary_cross_entropy_with_logits(c.leaf("x", 4, 6, scale=4), target.double()))
    for i, beta in enumerate((1.0, 0.1)):
        c = Case(store, f"smooth_l1.{i}")
        target = torch.randn(4, 6)
        c.put(target=target, beta=beta)
        c.finish(F.smooth_l1_loss(c.leaf("x", 4, 6), target.double(), beta=beta))
    for name, loss in (("mse.0", F.mse_loss), ("l1.0", F.l1_loss)):
        c = Case(store, name)
        target = torch.randn(4, 6)
        c.put(target=target)
        c.finish(loss(c.leaf("x", 4, 6), target.double()))


def optimizers(store):
    kinds = {
        "adamw.0": (torch.optim.AdamW, dict(lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.05)),
        "adamw.1": (torch.optim.AdamW, dict(lr=3e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)),
        "sgd.0": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, weight_decay=1e-2, nesterov=False)),
        "sgd.1": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, weight_decay=1e-2, nesterov=True)),
        "sgd.2": (torch.optim.SGD, dict(lr=0.1, momentum=0.0, weight_decay=0.0, nesterov=False)),
    }
    for name, (kind, args) in kinds.items():
        c = Case(store, name)
        p = c.leaf("p", 5, 7)
        numbers = []
        for value in args.values():
            numbers.extend(value if isinstance(value, tuple) else [float(value)])
        c.put(args=numbers)
        optimizer = kind([p], **args)
        for t in range(1, 4):
            grad = torch.randn(p.shape)
            p.grad = grad.double()
            optimizer.step()
            c.put(**{f"grad{t}": grad, f"p{t}": p})


def clipping(store):
    """Two tensors clipped together: a limit below their norm, and one above it, which changes nothing."""
    for i, limit in enumerate((1.0, 100.0)):
        c = Case(store, f"clip_grad_norm.{i}")
        params = {"a": torch.zeros(3, 5).double(), "b": torch.zeros(4).double()}
        for key, p in params.items():
            p.grad = torch.randn(p.shape).double()
            c.put(**{f"grad_{key}": p.grad})
        c.put(limit=limit, norm=torch.nn.utils.clip_grad_norm_(params.values(), limit))
        c.put(**{f"clipped_{key}": p.grad for key, p in params.items()})


def gathers(store):
    """Rows by index, with zeros for -1, from one table a sample and from one for all."""
    for i, batch in enumerate((3, 1)):
        c = Case(store, f"gather.{i}")
        index = torch.randint(-1, 5, (3, 12))
        x = c.leaf("x", batch, 5, 10)
        c.put(index=index)
        rows = F.pad(x, (0, 0, 0, 1)).expand(3, -1, -1)
        c.finish(torch.stack([r[k] for r, k in zip(rows, index)]))


def points(store):
    """SAM's encoding of points, and point sampling, by their formulas in torch."""
    c = Case(store, "fourier.0")
    weight = torch.tensor([1.0, 0.0, 0.5]).repeat(2, 3)[..., None]
    xyw, g = torch.cat([torch.rand(2, 9, 2), weight], -1), torch.randn(2, 12)
    t = 2 * math.pi * ((2 * xyw[..., :2].double() - 1) @ g.double())
    c.put(xyw=xyw, g=g, y=xyw[..., 2:].double() * torch.cat([t.sin(), t.cos()], -1))
    for i, shape in enumerate(((2, 3, 7, 9), (3, 1, 4, 1))):
        c = Case(store, f"point_sample.{i}")
        xy = torch.rand(shape[0], 23, 2) * 1.4 - 0.2
        c.put(xy=xy)
        y = F.grid_sample(c.leaf("x", *shape), 2 * xy.double()[:, :, None] - 1, align_corners=False)
        c.finish(y[..., 0])


def masks(store):
    """Losses and overlaps of masks, a row each; args: the kind, its two numbers."""

    def bce(x, t, *_):
        return F.binary_cross_entropy_with_logits(x, t, reduction="none").mean(-1)

    def focal(x, t, alpha, gamma):
        return torchvision.ops.sigmoid_focal_loss(x, t, alpha, gamma, reduction="none").mean(-1)

    def dice(x, t, *_):
        p = x.sigmoid()
        return 1 - (2 * (p * t).sum(-1) + 1) / (p.sum(-1) + t.sum(-1) + 1)

    kinds = ((bce, 0, 0), (focal, 0.25, 2), (focal, -1, 1.5), (dice, 0, 0))
    for i, (loss, alpha, gamma) in enumerate(kinds):
        c = Case(store, f"mask_loss.{i}")
        target = torch.rand(4, 50) if i % 2 else (torch.rand(4, 50) > 0.6).float()
        c.put(target=target, kind=[(bce, focal, dice).index(loss)], numbers=[float(alpha), float(gamma)])
        c.finish(loss(c.leaf("x", 4, 50, scale=4), target.double(), alpha, gamma))
    c = Case(store, "mask_overlap.0")
    x, target = torch.randn(4, 6, 5), torch.rand(4, 6, 5)
    x[3], target[3] = -1, 0
    a, b = x.flatten(1) > 0, target.flatten(1) > 0.5
    iou = (a & b).sum(-1) / (a | b).sum(-1)
    c.put(x=x, target=target, y=torch.where((a | b).any(-1), iou, 1.0))


def choices(store):
    """Which elements are foremost, with ties, a NaN and both zeros among them; and where a user clicks next."""
    for kind, measure in enumerate((torch.Tensor.clone, torch.neg, torch.abs)):
        c = Case(store, f"top_index.{kind}")
        x = torch.round(torch.randn(3, 200) * 20) / 10
        x[0, 5], x[1, ::7], x[1, 1::7], x[2, :3] = math.nan, 0.0, -0.0, torch.tensor([math.inf, -math.inf, math.inf])
        k = (20, 77, 150)[kind]
        order = torch.sort(measure(x).nan_to_num(math.inf, math.inf, -math.inf), dim=-1, stable=True).indices
        c.put(x=x, args=[kind, k], y=torch.sort(order[:, :k], -1).values)
    c = Case(store, "click.0")
    x, target, uniform = torch.randn(6, 7, 9), torch.rand(6, 7, 9), torch.rand(6)
    x[1], uniform[2], uniform[3] = target[1] - 0.5, 0, 1 - 2**-24
    x[4], target[4], target[5] = -1, 0, 0
    inside, spots, labels = target > 0.5, [], []
    for mask, truth, u in zip(x > 0, inside, uniform):
        rows, columns = torch.nonzero(mask != truth if (mask != truth).any() else truth, as_tuple=True)
        if len(rows):
            i = int(u.double() * len(rows))
            spots.append([(columns[i] + 0.5) / 9, (rows[i] + 0.5) / 7, 1.0])
            labels.append(int(truth[rows[i], columns[i]]))
        else:
            spots.append([0.5, 0.5, 1.0])
            labels.append(0)
    c.put(x=x, target=target, uniform=uniform, y=torch.tensor(spots), label=torch.tensor(labels))


def make(ref, out):
    torch.manual_seed(26)
    store = {}
    parts = (convolutions, norms, attention, pointwise, losses, optimizers, clipping)
    for part in parts + (points, masks, choices, gathers):
        part(store)
    save_fixture(out / "ops_torch.safetensors", store, ref)
