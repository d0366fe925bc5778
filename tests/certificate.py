"""Makes a certificate of deletion and its opening from their description alone (docs/certificate.md), with Python's
standard library and the openssl command: a second writer, to hold Lethe's reader against.

usage: certificate.py KEY BEFORE AFTER OUT OPENING [CHANGE]
KEY: a private key of lethe keygen. BEFORE, AFTER: checkpoint folders. CHANGE: Python that changes `record`."""
import base64, hashlib, json, os, subprocess, sys, tempfile


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).hexdigest()


def file_sha(path):
    return sha(open(path, "rb").read())


def merkle(lines):
    if len(lines) <= 1:
        return hashlib.sha256(b"\0" + lines[0] if lines else b"").digest()
    k = 1
    while 2 * k < len(lines):
        k *= 2
    return hashlib.sha256(b"\1" + merkle(lines[:k]) + merkle(lines[k:])).digest()


def manifest(folder):
    return open(os.path.join(folder, "manifest.jsonl"), "rb").read().splitlines()


def openssl(*words):
    return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout


def sign(key, data):
    with tempfile.NamedTemporaryFile() as f:
        f.write(data)
        f.flush()
        return openssl("pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", f.name)


key, before, after, out, opening = sys.argv[1:6]
kept = {json.loads(line)["sha256"] for line in manifest(after)}
gone = [s for s in map(json.loads, manifest(before)) if s["sha256"] not in kept]
salt, words, identity = os.urandom(32), "identity person_0000", os.urandom(16).hex()
commitments = sorted(
    sha(salt, b"\0", str(s["id"]).encode(), b"\0", s["sha256"].encode()) for s in gone
)
model, listed = "model.safetensors", os.path.join(before, "manifest.jsonl")
root = merkle(manifest(before)).hex()
record = {
    "format": "lethe-certificate 2",
    "id": identity,
    "received": "2026-03-01T12:00:00Z",
    "answered": "2026-03-02T12:00:00Z",
    "request": {"kind": "identity", "identities": 1, "samples": len(gone),
                "commitment": sha(salt, b"\1", words.encode())},
    "forgotten": commitments,
    "retained_count": len(kept),
    "manifest": {"before": sha(salt, b"\2", root.encode()), "after": merkle(manifest(after)).hex()},
    "method": "retrain",
    "settings": {"epochs": 1},
    "seed": 2,
    "program": {"version": "0.1.0", "sha256": "0" * 64},
    "weights": {"before": file_sha(os.path.join(before, model)), "after": file_sha(os.path.join(after, model))},
    "audit": None,
    "references": [file_sha(os.path.join(after, model))],
    "claim": {"level": "exact", "epsilon": None, "delta": None, "text": "Trained anew without them."},
    "old_state": [{"path": "runs/old/model.safetensors", "role": "checkpoint",
                   "bytes": os.path.getsize(os.path.join(before, model)),
                   "sha256": file_sha(os.path.join(before, model))},
                  {"path": "runs/old/manifest.jsonl", "role": "manifest", "bytes": None, "sha256": None,
                   "commitment": sha(salt, b"\3", file_sha(listed).encode())}],
    "duration_seconds": 2.5,
    "operator": "a desk",
}
exec(sys.argv[6] if len(sys.argv) > 6 else "")

lines = {name: f'"{name}": {json.dumps(value)},\n'.encode() for name, value in record.items()}
digests = {name: sha(line) for name, line in lines.items()}
public = openssl("pkey", "-in", key, "-pubout", "-outform", "DER")[-32:]
text = b"{\n" + b"".join(lines.values())
text += f'"digests": {json.dumps(digests)},\n"public_key": "{base64.b64encode(public).decode()}",\n'.encode()
text += f'"signature": "{base64.b64encode(sign(key, text)).decode()}"\n}}\n'.encode()
json.loads(text)
open(out, "wb").write(text)
with open(opening, "w") as f:
    samples = [{"id": str(s["id"]), "path": s["path"], "sha256": s["sha256"]} for s in gone]
    json.dump({"format": "lethe-opening 2", "certificate": identity, "salt": salt.hex(), "request": words,
               "samples": samples, "manifest_before": root,
               "old_lists": [{"path": "runs/old/manifest.jsonl", "bytes": os.path.getsize(listed), "sha256": file_sha(listed)}]}, f)
