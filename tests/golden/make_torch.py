"""Writes tests/golden/torch/*.pth with torch.save, for tests/test_weights.c and tests/test_import.sh.
Usage: python make_torch.py FOLDER. Values: element i of a tensor, in C order, is i (booleans: i odd)."""
import argparse
import collections
import sys
import zipfile

import numpy
import torch

folder = sys.argv[1]


def count(*shape, dtype=torch.float32):
    n = torch.arange(int(torch.tensor(shape).prod()) if shape else 1).reshape(shape)
    return n % 2 == 1 if dtype == torch.bool else n.to(dtype)


def types():
    names = ["float64", "float32", "float16", "bfloat16", "uint8", "int8", "int16", "int32", "int64", "bool",
             "uint16", "uint32", "uint64", "float8_e4m3fn", "complex64"]
    return {n: count(2, 3, dtype=getattr(torch, n)) for n in names}


def views():
    big = torch.full((40,), -1.0)
    big[7:13] = torch.arange(6.0)
    table = torch.full((4, 6), -1.0)
    table[1:3, 1:4] = count(2, 3)
    return {
        "transposed": count(2, 3).t().contiguous().t(),
        "offset": big[7:13].reshape(2, 3),
        "window": table[1:3, 1:4],
        "channels": count(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "scalar": torch.tensor(3.5),
        "counter": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(count(2, 3)),
        "one.row": count(1, 3)[:, :3],
    }


def nested():
    state = collections.OrderedDict(("module." + k, v) for k, v in views().items())
    adam = {"state": {0: {"exp_avg": torch.zeros(3), "step": torch.tensor(1.0)}}, "lr": 1e-3}
    return {"loss": torch.tensor(0.5), "model": state, "optimizer": adam, "epoch": 3, "big": 1 << 80,
            "args": argparse.Namespace(lr=0.1, name="x", device=torch.device("cpu"), dtype=torch.float32),
            "best": numpy.float64(3.0), "array": numpy.arange(3), "names": {"a", "b"}, "blob": b"\0\xff"}


def linear():
    torch.manual_seed(0)
    m = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    return m.state_dict()  # with its _metadata


def big_endian(source, path):
    """What a big-endian machine would have written: the bytes of each storage swapped."""
    with zipfile.ZipFile(source) as a, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as b:
        for i in a.infolist():
            data = a.read(i)
            if i.filename.endswith("/byteorder"):
                data = b"big"
            if "/data/" in i.filename:
                data = numpy.frombuffer(data, "<f4").astype(">f4").tobytes()
            b.writestr(i.filename, data)


torch.save(types(), f"{folder}/types.pth")
torch.save(views(), f"{folder}/views.pth")
for protocol in (2, 4, 5):
    torch.save(nested(), f"{folder}/nested{protocol}.pth", pickle_protocol=protocol)
torch.save(linear(), f"{folder}/linear.pth")
floats = {k: v for k, v in views().items() if v.dtype == torch.float32}
torch.save(floats, f"{folder}/little.pth")
big_endian(f"{folder}/little.pth", f"{folder}/big.pth")
torch.serialization.set_crc32_options(False)
torch.save({"state_dict": {"model": linear()}}, f"{folder}/nocrc.pth")
torch.save(linear(), f"{folder}/legacy.pth", _use_new_zipfile_serialization=False)
torch.jit.script(torch.nn.Linear(2, 2)).save(f"{folder}/script.pth")


def mae(dim=64, depth=1, width=32, patch=8, grid=4):
    """A masked autoencoder as facebookresearch/mae saves it, made small; in half precision to be smaller still."""
    def random(*shape):
        return (torch.randn(shape) * 0.05).half()

    def block(prefix, d):
        return {f"{prefix}.norm1.weight": torch.ones(d), f"{prefix}.norm1.bias": torch.zeros(d),
                f"{prefix}.attn.qkv.weight": random(3 * d, d), f"{prefix}.attn.qkv.bias": random(3 * d),
                f"{prefix}.attn.proj.weight": random(d, d), f"{prefix}.attn.proj.bias": random(d),
                f"{prefix}.norm2.weight": torch.ones(d), f"{prefix}.norm2.bias": torch.zeros(d),
                f"{prefix}.mlp.fc1.weight": random(4 * d, d), f"{prefix}.mlp.fc1.bias": random(4 * d),
                f"{prefix}.mlp.fc2.weight": random(d, 4 * d), f"{prefix}.mlp.fc2.bias": random(d)}

    state = {"cls_token": random(1, 1, dim), "pos_embed": random(1, 1 + grid * grid, dim),
             "mask_token": random(1, 1, width), "decoder_pos_embed": random(1, 1 + grid * grid, width),
             "patch_embed.proj.weight": random(dim, 3, patch, patch), "patch_embed.proj.bias": random(dim)}
    for i in range(depth):
        state |= block(f"blocks.{i}", dim)
    state |= {"norm.weight": torch.ones(dim), "norm.bias": torch.zeros(dim),
              "decoder_embed.weight": random(width, dim), "decoder_embed.bias": random(width)}
    state |= block("decoder_blocks.0", width)
    state |= {"decoder_norm.weight": torch.ones(width), "decoder_norm.bias": torch.zeros(width),
              "decoder_pred.weight": random(patch * patch * 3, width), "decoder_pred.bias": random(patch * patch * 3)}
    return state


class Evil:
    def __reduce__(self):
        import os
        return os.system, ("touch /tmp/lethe_was_here",)


torch.manual_seed(0)
torch.serialization.set_crc32_options(True)
state = mae()
state["extra.weight"] = torch.ones(3)
torch.save({"model": state, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}, "epoch": 7,
            "args": argparse.Namespace(lr=0.1, output_dir="x")}, f"{folder}/mae.pth")
torch.save({"model": {"a": torch.ones(2)}, "hook": Evil()}, f"{folder}/evil.pth")
with zipfile.ZipFile(f"{folder}/linear.pth") as a, zipfile.ZipFile(f"{folder}/packed.pth", "w", zipfile.ZIP_DEFLATED) as b:
    for i in a.infolist():
        b.writestr(i.filename, a.read(i))
