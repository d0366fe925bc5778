"""Does a folder still hold what was forgotten? tests/holds.py BEFORE AFTER FOLDER: two manifests, and the folder that shall
hold no line, path or hash of a sample that is in the first manifest alone, in no file, text or not. Prints what it finds."""
import json
import os
import sys


def lines(path):
    with open(path, encoding="utf-8") as f:
        return f.read().splitlines()


before, after = lines(sys.argv[1]), lines(sys.argv[2])
gone = [json.loads(x) for x in before if x not in set(after)]
if not gone or [x for x in before if x in set(after)] != after:
    sys.exit("of %d lines %d are left, and not the retained ones in their order" % (len(before), len(after)))
found = []
for folder, _, files in os.walk(sys.argv[3]):
    for name in files:
        path = os.path.join(folder, name)
        if "optimizer" in name or "ema" in name:
            found.append(path)
        with open(path, "rb") as f:
            data = f.read()
        for x in gone:
            end = "/".join(x["path"].split("/")[-2:])
            traces = (end.encode(), x["sha256"].encode(), bytes.fromhex(x["sha256"]), b'{"id":%d,' % x["id"], b'"id": %d,' % x["id"])
            found += ["%s holds %r" % (path, t) for t in traces if t in data]
print("%d samples gone" % len(gone))
sys.exit("\n".join(found[:5]) if found else 0)
