"""Images per second of one training step of the masked autoencoder in PyTorch, to hold against `lethe bench`: the same
shapes as the public model (encoder on the visible patches, decoder on all, loss on normalised pixels of hidden patches),
bf16 autocast, fused attention, torch.compile, fused AdamW, images that lie on the device. One line of JSON.

    python3 bench_torch.py [--preset base] [--batch 256] [--mode default] [--dtype bf16] [--device cuda] [--json FILE]
    python3 bench_torch.py --preset base --count       # parameters only
    python3 bench_torch.py --matmul                    # the rate of a large bf16 product only

--mode is torch.compile's, or "eager". --warm-only compiles and leaves; what it compiled stays in PyTorch's cache.
"""

import argparse
import json
import math
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

# patch; width, depth, heads of the encoder; of the decoder (as in mim/vit.c and mim/mae.c)
PRESETS = {
    "micro": (8, 128, 4, 4, 96, 2, 3),
    "tiny": (16, 192, 12, 3, 128, 4, 4),
    "small": (16, 384, 12, 6, 256, 4, 8),
    "base": (16, 768, 12, 12, 512, 8, 16),
    "large": (16, 1024, 24, 16, 512, 8, 16),
    "huge": (14, 1280, 32, 16, 512, 8, 16),
}


def sincos_table(width, grid):
    """[1, 1 + grid * grid, width]: zeros for the class token, then half of a row for x and half for y."""
    omega = 1.0 / 10000 ** (torch.arange(width // 4, dtype=torch.float64) / (width / 4))

    def one(position):
        angle = torch.outer(position.reshape(-1), omega)
        return torch.cat([angle.sin(), angle.cos()], dim=1)

    along = torch.arange(grid, dtype=torch.float64)
    y, x = torch.meshgrid(along, along, indexing="ij")
    table = torch.cat([one(x), one(y)], dim=1)
    return torch.cat([torch.zeros(1, width, dtype=torch.float64), table]).float().unsqueeze(0)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(seen.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Autoencoder(nn.Module):
    def __init__(self, preset, side=224, hidden=0.75):
        super().__init__()
        patch, width, depth, heads, narrow, short, few = PRESETS[preset]
        grid = side // patch
        self.patch, self.grid = patch, grid
        self.keep = int(grid * grid * (1 - hidden))
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("place", sincos_table(width, grid))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.narrow = nn.Linear(width, narrow)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, narrow))
        self.register_buffer("narrow_place", sincos_table(narrow, grid))
        self.narrow_blocks = nn.ModuleList(Block(narrow, few) for _ in range(short))
        self.narrow_norm = nn.LayerNorm(narrow, eps=1e-6)
        self.pixels = nn.Linear(narrow, patch * patch * 3)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                nn.init.xavier_uniform_(p)
            elif name.endswith("token"):
                nn.init.normal_(p, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)
        bound = math.sqrt(6 / (width + 3 * patch * patch))
        nn.init.uniform_(self.embed.weight, -bound, bound)

    def patches(self, image):
        """[batch, patches, patch * patch * 3], the channel last within a pixel."""
        batch, g, p = image.shape[0], self.grid, self.patch
        return image.reshape(batch, 3, g, p, g, p).permute(0, 2, 4, 3, 5, 1).reshape(batch, g * g, p * p * 3)

    def forward(self, image, noise):
        batch, count = noise.shape
        order = noise.argsort(dim=1)  # the smallest are kept
        back = order.argsort(dim=1)
        x = self.embed(image).flatten(2).transpose(1, 2) + self.place[:, 1:]
        x = x.gather(1, order[:, : self.keep, None].expand(-1, -1, x.shape[2]))
        x = torch.cat([(self.class_token + self.place[:, :1]).expand(batch, -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        x = self.narrow(self.norm(x))
        tokens = self.mask_token.to(x.dtype).expand(batch, count - self.keep, -1)
        y = torch.cat([x[:, 1:], tokens], dim=1)
        y = y.gather(1, back[:, :, None].expand(-1, -1, y.shape[2]))
        y = torch.cat([x[:, :1], y], dim=1) + self.narrow_place
        for block in self.narrow_blocks:
            y = block(y)
        guess = self.pixels(self.narrow_norm(y))[:, 1:]
        want = self.patches(image)
        want = (want - want.mean(-1, keepdim=True)) / (want.var(-1, keepdim=True) + 1e-6).sqrt()
        each = (guess.float() - want).square().mean(-1)
        mask = (back >= self.keep).float()
        return (each * mask).sum() / mask.sum()


def matmul_rate(side=8192, repeats=20):
    """FLOP a second of a square bf16 product, the median of `repeats`."""
    a = torch.randn(side, side, device="cuda", dtype=torch.bfloat16)
    b = torch.randn(side, side, device="cuda", dtype=torch.bfloat16)
    took = []
    for i in range(repeats + 5):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        a @ b
        end.record()
        end.synchronize()
        took.append(start.elapsed_time(end) / 1e3)
    return 2 * side**3 / statistics.median(took[5:])


def optimizer_of(model):
    """AdamW with MAE's settings: no decay of biases, norms and tokens."""
    flat = [p for n, p in model.named_parameters() if p.ndim == 1 or n.endswith("bias")]
    full = [p for n, p in model.named_parameters() if not (p.ndim == 1 or n.endswith("bias"))]
    groups = [{"params": full, "weight_decay": 0.05}, {"params": flat, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=True)


class Bench:
    def __init__(self, args):
        self.args = args
        self.cuda = args.device == "cuda"
        torch.manual_seed(0)
        torch.set_float32_matmul_precision("high")
        self.model = Autoencoder(args.preset).to(args.device)
        self.run = self.model if args.mode == "eager" else torch.compile(self.model, mode=args.mode, dynamic=False)
        self.optimizer = optimizer_of(self.model)
        self.image = torch.rand(args.batch, 3, 224, 224, device=args.device) * 2 - 1

    def step(self):
        noise = torch.rand(self.args.batch, self.model.grid**2, device=self.args.device)
        with torch.autocast(self.args.device, torch.bfloat16, enabled=self.args.dtype == "bf16"):
            loss = self.run(self.image, noise)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def wait(self):
        if self.cuda:
            torch.cuda.synchronize()

    def timed(self, steps):
        """Seconds of each step: events on the device, so that the next step may be queued meanwhile."""
        if not self.cuda:
            took = []
            for _ in range(steps):
                start = time.perf_counter()
                self.step()
                took.append(time.perf_counter() - start)
            return took
        mark = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
        mark[0].record()
        for i in range(steps):
            self.step()
            mark[i + 1].record()
        mark[steps].synchronize()
        return [mark[i].elapsed_time(mark[i + 1]) / 1e3 for i in range(steps)]


def measure(args):
    start = time.perf_counter()
    bench = Bench(args)
    for _ in range(args.warm):
        loss = bench.step()
    bench.wait()
    warm = time.perf_counter() - start
    told = {
        "preset": args.preset,
        "batch": args.batch,
        "dtype": args.dtype,
        "mode": args.mode,
        "parameters": sum(p.numel() for p in bench.model.parameters()),
        "warm_seconds": round(warm, 2),
        "first_loss": float(loss),
    }
    if not args.warm_only:
        took = bench.timed(args.steps)
        told["images_per_second"] = args.batch / statistics.median(took)
        told["seconds_least"], told["seconds_most"] = min(took), max(took)
    if bench.cuda:
        free, total = torch.cuda.mem_get_info()
        told["peak_bytes"] = torch.cuda.max_memory_allocated()
        told["reserved_bytes"] = torch.cuda.max_memory_reserved()
        told["card_bytes"] = total - free  # all processes, with CUDA's own
    else:
        import resource

        told["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="base")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--mode", default="default")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--warm", type=int, default=6)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--matmul", action="store_true")
    parser.add_argument("--warm-only", action="store_true")
    parser.add_argument("--json")
    args = parser.parse_args()
    if args.count:
        told = {"parameters": sum(p.numel() for p in Autoencoder(args.preset).parameters())}
    elif args.matmul:
        told = {"matmul_flops": matmul_rate()}
    else:
        told = measure(args)
    told["torch"] = torch.__version__
    cuda = args.device == "cuda" and not args.count
    told["device"] = torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads"
    line = json.dumps(told)
    print(line, flush=True)
    if args.json:
        with open(args.json, "w") as f:
            f.write(line + "\n")


if __name__ == "__main__":
    main()
