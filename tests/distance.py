"""Two models and what both set out from: tests/distance.py A B FROM. Prints how far A is from B, relative to B, and how far
both have gone; exit status 1 if a tensor is off by more than 1e-4, or nothing moved. Of a query-key-value bias the middle
third is left out: a key's bias changes no softmax, so that its gradient is rounding, which AdamW makes a step of."""
import json
import math
import struct
import sys


def read(path):
    with open(path, "rb") as f:
        data = f.read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    out = {}
    for name, t in json.loads(data[8:start]).items():
        if name != "__metadata__":
            assert t["dtype"] == "F32", name
            lo, hi = t["data_offsets"]
            out[name] = list(struct.unpack("<%df" % ((hi - lo) // 4), data[start + lo:start + hi]))
            if name.endswith("qkv.bias"):
                third = (hi - lo) // 12
                del out[name][third:2 * third]
    return out


def length(x):
    return math.sqrt(sum(v * v for v in x))


def apart(a, b):
    return length([x - y for x, y in zip(a, b)])


a, b, origin = (read(path) for path in sys.argv[1:])
assert a.keys() == b.keys() == origin.keys()
off = {name: apart(a[name], b[name]) / (length(b[name]) or 1) for name in a}
worst = max(off, key=off.get)
way = length([apart(b[name], origin[name]) for name in b]) / length([length(x) for x in b.values()])
print("%s is off by %.1e; the way is %.1e" % (worst, off[worst], way))
sys.exit(not (off[worst] <= 1e-4 and way > 1e-6))
