"""Images per second of one training step of the reference MAE in torch on this machine's CPU, for docs/performance.md:
the same model, batch, optimizer and threads as `lethe bench --task mae --preset base`. Run the two in turn.

    python bench_torch.py REFERENCE [--batch 32] [--dtype f32|bf16] [--compile] [--steps 3]
"""

import argparse
import statistics
import time

import torch

from reference import Reference


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    model = Reference(args.reference).models_mae.mae_vit_base_patch16(norm_pix_loss=True)
    step_model = torch.compile(model) if args.compile else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05, fused=True)
    images = torch.randn(args.batch, 3, 224, 224)
    took = []
    for _ in range(args.steps + 1):  # the first warms up, and compiles
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.dtype == "bf16"):
            loss, _, _ = step_model(images, mask_ratio=0.75)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        took.append(time.perf_counter() - start)
    rate = args.batch / statistics.median(took[1:])
    compiled = " compiled" if args.compile else ""
    print(f"torch {torch.__version__}{compiled}, {args.dtype}, {torch.get_num_threads()} threads: {rate:.3f} images/s")


if __name__ == "__main__":
    main()
