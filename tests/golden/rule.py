"""Numbers by counter, so that large fixtures need no stored weights (README.md, "The rule").

words(name, n): 32-bit words of Philox 4x32-10 with counter {i / 4, 0, 0, 0} and key rng_hash(name), word i % 4
of the block; the same as core/rng.c, against which check_against_c compares them.
"""

import subprocess
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
PROJECTIONS = 16
CHUNK = 1 << 20  # blocks made at a time: bounds memory


def hash_name(text):
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return value


def philox_blocks(first, count, key):
    """Philox 4x32-10 (Salmon et al. 2011) of counters first .. first + count - 1: uint32 (count, 4)."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    c0 = np.arange(first, first + count, dtype=np.uint64)
    c1, c2, c3 = (np.zeros(count, np.uint64) for _ in range(3))
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c2 = (p1 >> half) ^ c1 ^ np.uint64(k0), (p0 >> half) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & low, p0 & low
        k0, k1 = k0 + 0x9E3779B9 & 0xFFFFFFFF, k1 + 0xBB67AE85 & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def words(name, n):
    blocks = (n + 3) // 4
    key = hash_name(name)
    parts = [philox_blocks(b, min(CHUNK, blocks - b), key) for b in range(0, blocks, CHUNK)]
    return np.concatenate(parts).reshape(-1)[:n]


def centred(name, shape):
    """2 u - 1 in [-1, 1) with u = (word >> 8) 2^-24: exact in float32, given as float64."""
    n = int(np.prod(shape))
    return (words(name, n) >> 8).astype(np.float64).reshape(shape) * 2.0**-23 - 1.0


def scale_of(name, shape):
    """What multiplies v in a parameter of this name, but for norms and running variances."""
    if name.endswith(("cls_token", "mask_token")):
        return 0.02
    if name.endswith("gaussian_matrix"):
        return np.sqrt(3.0)
    if name.endswith("pos_embed"):
        return 0.5
    if name.endswith(("attention_biases", "_token.weight", "_tokens.weight")):
        return 1.0
    if name.startswith("prompt_encoder.") and len(shape) == 2:
        return 1.0
    return 0.02 if len(shape) == 1 else np.sqrt(3.0 / np.prod(shape[1:]))


def weight(name, shape):
    """The value of a parameter, float32: computed in double, rounded once."""
    v = centred(name, shape)
    if name.endswith("running_var"):
        return (1.0 + 0.5 * v).astype(np.float32)
    if len(shape) == 1 and name.endswith("weight"):
        return (1.0 + 0.1 * v).astype(np.float32)
    return (scale_of(name, shape) * v).astype(np.float32)


def gradient(name, shape):
    """A made-up gradient with which an optimizer can be checked apart from any model: 1e-3 (2 u - 1)."""
    return (1e-3 * centred("grad:" + name, shape)).astype(np.float32)


def sketch(name, value):
    """float64 [1 + PROJECTIONS]: the L2 norm of `value`, then its dot products with the sign vectors of
    `name`; the sign of element i in vector j is + where bit j of words("sign:" + name)[i] is set."""
    value = np.asarray(value, np.float64).reshape(-1)
    bits = words("sign:" + name, value.size)
    total = value.sum()
    dots = [2.0 * value[(bits >> j & 1).astype(bool)].sum() - total for j in range(PROJECTIONS)]
    return np.array([np.sqrt((value * value).sum()), *dots])


def check_against_c():
    """Compiles rule_check.c with core/rng.c and compares its words with ours."""
    root = HERE.parent.parent
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "rule_check"
        sources = [str(HERE / "rule_check.c"), str(root / "core" / "rng.c")]
        subprocess.run(["gcc", "-std=gnu17", "-O2", f"-I{root}", "-o", program, *sources, "-lm"], check=True)
        for name, n in (("cls_token", 768), ("blocks.0.attn.qkv.weight", 100003), ("sign:norm.bias", 5)):
            text = subprocess.run([program, name, str(n)], check=True, capture_output=True, text=True).stdout
            theirs = np.array([int(line, 16) for line in text.split()], np.uint32)
            assert np.array_equal(theirs, words(name, n)), f"Philox of {name} differs from core/rng.c"
    print("the rule agrees with core/rng.c")
