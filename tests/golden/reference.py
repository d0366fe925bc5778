"""Opens the public MAE reference under a current torch, and reads photographs and writes fixtures.

The reference pins timm 0.3.2, which asks for torch._six (gone since torch 2.0) and numpy.float (gone since
1.24). Both names are supplied here, from outside: neither package is edited.
"""

import collections.abc
import contextlib
import json
import subprocess
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image

HERE = Path(__file__).resolve().parent
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


class Reference:
    """The reference's modules as attributes; `versions` goes into every fixture's metadata."""

    def __init__(self, checkout):
        six = types.ModuleType("torch._six")
        six.container_abcs, six.string_classes, six.int_classes = collections.abc, str, int
        sys.modules["torch._six"] = six
        np.float = float
        sys.path.insert(0, str(checkout))
        import models_mae
        import models_vit
        import timm
        import timm.data.mixup
        import timm.loss
        import timm.optim.optim_factory
        from util import lars, lr_decay, lr_sched, pos_embed

        self.models_mae, self.models_vit, self.timm = models_mae, models_vit, timm
        self.lars, self.lr_decay, self.lr_sched, self.pos_embed = lars, lr_decay, lr_sched, pos_embed
        self.versions = {
            "reference": "facebookresearch/mae",
            "reference_commit": checkout_commit(checkout),
            "torch": torch.__version__,
            "timm": timm.__version__,
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "torchvision": torchvision.__version__,
        }


def checkout_commit(checkout):
    """The commit of a git checkout, or what the file COMMIT beside an exported tree says, or "unknown"."""
    note = Path(checkout) / "COMMIT"
    if note.exists():
        return note.read_text().strip()
    git = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True)
    return git.stdout.strip() if git.returncode == 0 else "unknown"


@contextlib.contextmanager
def given_noise(noise):
    """Within this, torch.rand gives `noise` (N, L): the one draw that the reference's masking makes."""

    def rand(*shape, **_):
        assert shape == tuple(noise.shape), shape
        return noise

    with mock.patch.object(torch, "rand", rand):
        yield


def photo_pixels(name):
    """photos/NAME.jpg as uint8 (H, W, 3)."""
    return np.asarray(Image.open(HERE / "photos" / f"{name}.jpg").convert("RGB"))


def photo_batch(*names):
    """Photographs as the reference feeds them: float32 (N, 3, H, W), (pixel / 255 - mean) / std."""
    pixels = np.stack([photo_pixels(n) for n in names]).astype(np.float32) / np.float32(255)
    return torch.from_numpy(((pixels - MEAN) / STD).transpose(0, 3, 1, 2).copy())


def to_numpy(value):
    """Fixtures hold float32, int32 and uint8, never a 0-dimensional tensor."""
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    value = np.atleast_1d(np.asarray(value))
    if value.dtype == np.uint8:
        return np.ascontiguousarray(value)
    kind = np.int32 if value.dtype.kind in "iub" else np.float32
    return np.ascontiguousarray(value, dtype=kind)


def save_fixture(path, tensors, ref, **metadata):
    """Writes the safetensors file ourselves, in sorted order, so that the same values give the same bytes (the
    safetensors package writes its metadata in random order). uint8 comes last: the rest stays aligned."""
    tensors = {name: to_numpy(value) for name, value in tensors.items()}
    metadata = {**ref.versions, **{k: str(v) for k, v in metadata.items()}}
    header, offset = {"__metadata__": metadata}, 0
    names = sorted(tensors, key=lambda n: (tensors[n].dtype == np.uint8, n))
    for name in names:
        value = tensors[name]
        end = offset + value.nbytes
        kind = {"float32": "F32", "int32": "I32", "uint8": "U8"}[value.dtype.name]
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(tensors[n].tobytes() for n in names))
    print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes")
    for key, value in metadata.items():
        if key not in ref.versions:
            print(f"    {key}: {value}")


def distance(a, b):
    """Relative norm |a - b| / |b|, in float64."""
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).norm() / b.norm().clamp_min(1e-300))
