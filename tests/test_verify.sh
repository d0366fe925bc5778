#!/bin/bash
# lethe keygen and lethe verify, as a user: a certificate made by another program (tests/certificate.py) from its
# description alone is taken, the openssl command takes it, too, and each mistake gets its line. Usage:
# tests/test_verify.sh [BUILD]
set -u
. tests/sandbox.sh
failed=0
command -v python3 >/dev/null && command -v openssl >/dev/null || { echo "SKIP: no python3 or no openssl"; exit 77; }

complain() {
    echo "test_verify: $1" >&2
    failed=1
}

# says NAME PATTERN COMMAND...: status 0, and the output matches
says() {
    local name=$1 pattern=$2 out status
    shift 2
    out=$("$@" 2>&1)
    status=$?
    [ $status = 0 ] && printf '%s' "$out" | grep -qE -- "$pattern" || complain "$name: status $status, wanted 0 and /$pattern/, got: $out"
}

# refused NAME PATTERN COMMAND...: status 1, one line on stderr, and that line matches
refused() {
    local name=$1 pattern=$2 out status
    shift 2
    out=$("$@" 2>&1 >/dev/null)
    status=$?
    if [ $status != 1 ] || [ "$(printf '%s\n' "$out" | wc -l)" != 1 ] || ! printf '%s' "$out" | grep -qE -- "$pattern"; then
        complain "$name: status $status, wanted 1 and /$pattern/, got: $out"
    fi
}

# the keys
cd "$work" || exit 1
certify() { python3 "$OLDPWD/tests/certificate.py" "$@" || complain "certificate.py failed"; }
says "keygen" '^key\.pub: the public key' "$lethe" keygen --out key
[ "$(stat -c %a key)" = 600 ] || complain "the private key has mode $(stat -c %a key)"
fingerprint=$(openssl pkey -pubin -in key.pub -outform DER | sha256sum | cut -d' ' -f1)
openssl pkey -in key -pubout 2>&1 | cmp -s - key.pub || complain "openssl makes another public key of the private one"
cp key kept
refused "a key is there" 'key: is there already and is not replaced' "$lethe" keygen --out key
cmp -s key kept || complain "a key was replaced"
touch half.pub
refused "half a pair is there" 'half\.pub: is there already' "$lethe" keygen --out half
[ -e half ] && complain "half a pair was left"
refused "keygen without --out" 'keygen takes --out' "$lethe" keygen
refused "keygen into nowhere" 'nowhere/key' "$lethe" keygen --out nowhere/key
"$lethe" keygen --out stranger >/dev/null
openssl genpkey -algorithm ed25519 -out theirs 2>/dev/null && openssl pkey -in theirs -pubout -out theirs.pub
openssl genpkey -algorithm RSA -out rsa 2>/dev/null && openssl pkey -in rsa -pubout -out rsa.pub

# two trainings, the second without a person
"$lethe" synth faces --out faces --count 32 --identities 4 --size 32 --seed 1 >/dev/null || exit 1
cp -r faces less && rm -r less/train/person_0000
echo '{"task": "mae", "device": "cpu", "model": {"image_size": 32, "patch": 8, "dim": 32, "depth": 1, "heads": 2, "decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 2}, "train": {"batch": 8, "epochs": 1}, "schedule": {"warmup_epochs": 0}}' >recipe.json
"$lethe" train recipe.json --out old --set data.train=faces/train >/dev/null 2>&1 || complain "training failed"
# the same data set, one person less: paths in the manifest stay the same
mv faces whole && mv less faces
"$lethe" train recipe.json --out new --set data.train=faces/train >/dev/null 2>&1 || complain "training failed"
certify key old/checkpoints/last new/checkpoints/last certificate.json opening.json
verify() { "$lethe" verify certificate.json --key key.pub "$@"; }

says "verify" '^certificate\.json: whole: each of its 24 lines' verify
says "verify, whose key" "^  key +$fingerprint\$" verify
says "verify, how many" '^  request +by identity \(1\): 7 samples; 21 are kept$' verify
says "verify, the claim" '^  claim +exact\. Trained anew' verify
says "verify, old state" '^  old state +2 files still' verify
says "verify, which" '^ +runs/old/model\.safetensors \(checkpoint, [0-9]+ bytes\)' verify
says "verify, a list of samples" '^ +runs/old/manifest\.jsonl \(manifest\)$' verify
says "verify, no audit" '^  audit +none' verify
says "verify, what it does not prove" 'does not' verify
says "the weights" '^new/checkpoints/.*/model\.safetensors: these are the weights from after' verify --checkpoint new
says "their manifest" 'this is the list of [0-9]+ training samples from after' verify --checkpoint new
says "weights alone" 'what they were trained on was not checked' verify --checkpoint new/checkpoints/last/model.safetensors
says "the opening" '^opening\.json: its [0-9]+ samples' verify --opening opening.json
says "the opening, the list before" '^  so is its list of samples from before, of the root [0-9a-f]{64}$' verify --opening opening.json
says "the opening, the old lists" '^  so are the lists of samples among the old state: 1$' verify --opening opening.json
# who has the images of somebody, and the list of all others, must not find out whether it was they
python3 - "$OLDPWD/tests/certificate.py" old/manifest.jsonl certificate.json <<'P' || complain "the certificate tells what the list before was"
import ast, hashlib, sys
source = open(sys.argv[1]).read()
merkle = next(n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == "merkle")
exec(ast.unparse(merkle))
text, data = open(sys.argv[3]).read(), open(sys.argv[2], "rb").read()
sys.exit(any(h in text for h in (merkle(data.splitlines()).hex(), hashlib.sha256(data).hexdigest(), f": {len(data)},")))
P
certify theirs old/checkpoints/last new/checkpoints/last theirs.json theirs_opening.json
says "a key of openssl" 'whole' "$lethe" verify theirs.json --key theirs.pub

# what the description promises to those without Lethe
line=$(grep -n '^"method"' certificate.json | cut -d: -f1)
digest=$(sed -n "${line}p" certificate.json | sha256sum | cut -d' ' -f1)
grep -q "\"method\": \"$digest\"" certificate.json || complain "the digest of a line is not that of sha256sum"
head -n -2 certificate.json >signed
tail -n 2 certificate.json | head -1 | cut -d'"' -f4 | base64 -d >signature
openssl pkeyutl -verify -rawin -pubin -inkey key.pub -in signed -sigfile signature >/dev/null 2>&1 || complain "openssl does not take the signature"

# mistakes
refused "the weights from before" 'these are the weights from before the deletion' verify --checkpoint old
refused "other weights" 'is of neither the weights' verify --checkpoint "$OLDPWD/tests/golden/torch/mae.pth"
refused "no checkpoint" 'nowhere' verify --checkpoint nowhere
cp -r new mixed && rm -r mixed/checkpoints && mkdir mixed/checkpoints && cp -rL new/checkpoints/last mixed/checkpoints/1
chmod u+w mixed/checkpoints/1/manifest.jsonl && cp old/manifest.jsonl mixed/checkpoints/1/manifest.jsonl
refused "a damaged list of samples" 'manifest\.jsonl' verify --checkpoint mixed
certify key new/checkpoints/last new/checkpoints/last same.json same_opening.json
says "nothing changed" 'nothing was changed in them' "$lethe" verify same.json --key key.pub
certify key old/checkpoints/last new/checkpoints/last list.json list_opening.json "record['manifest']['after'] = root"
refused "another list of samples" 'is not the list of training samples that' "$lethe" verify list.json --key key.pub --checkpoint new
certify key old/checkpoints/last new/checkpoints/last list.json before.json "old_root, root = root, record['manifest']['after']; record['manifest'] = dict(before=sha(salt, b'\x02', root.encode()), after=old_root)"
refused "the old list of samples, to who cannot tell" 'is not the list of training samples that' "$lethe" verify list.json --key key.pub --checkpoint new
refused "the old list of samples" 'list of training samples from before the deletion' "$lethe" verify list.json --key key.pub --checkpoint new --opening before.json
certify key old/checkpoints/last new/checkpoints/last list.json list_opening.json "record['manifest']['before'] = root"
refused "a root that is no commitment" 'list_opening\.json.*manifest_before: the certificate commits to another' "$lethe" verify list.json --key key.pub --opening list_opening.json
certify key old/checkpoints/last new/checkpoints/last list.json list_opening.json "record['old_state'][1]['commitment'] = '0' * 64"
refused "another file of the old state" 'list_opening\.json.*old_lists\[0\]: the certificate commits to another' "$lethe" verify list.json --key key.pub --opening list_opening.json
certify key old/checkpoints/last new/checkpoints/last other.json other_opening.json "record['audit'] = {}"
says "held against" 'held against 1 reference$' "$lethe" verify other.json --key key.pub
certify key old/checkpoints/last new/checkpoints/last other.json other_opening.json "record['format'] = 'lethe-certificate 1'"
refused "another format" 'other\.json:2:[0-9]+: format: .*reads "lethe-certificate 2" only' "$lethe" verify other.json --key key.pub
certify key old/checkpoints/last new/checkpoints/last other.json other_opening.json "del record['claim']"
refused "no claim" 'claim.*missing' "$lethe" verify other.json --key key.pub
certify key old/checkpoints/last new/checkpoints/last other.json other_opening.json "record['operator'] = 'a\x1b[2Jb'"
says "a terminal's commands" 'operator +a\?\[2Jb$' "$lethe" verify other.json --key key.pub

refused "changed" "^lethe: changed\.json:$line: \"method\" was changed after signing\$" sh -c "sed 's/retrain/ascent/' certificate.json >changed.json; $lethe verify changed.json --key key.pub"
refused "a line removed" "^lethe: changed\.json:$line: the line of \"method\"" sh -c "sed '${line}d' certificate.json >changed.json; $lethe verify changed.json --key key.pub"
refused "cut short" '^lethe: changed\.json:[0-9]+: the file ends' sh -c "head -c 700 certificate.json >changed.json; $lethe verify changed.json --key key.pub"
refused "written again by another tool" 'changed\.json:1: ' sh -c "python3 -m json.tool --compact certificate.json >changed.json; $lethe verify changed.json --key key.pub"
refused "with DOS's line ends" 'changed\.json:1: ' sh -c "sed 's/\$/\r/' certificate.json >changed.json; $lethe verify changed.json --key key.pub"
refused "another key" "was signed with the key $fingerprint, not with the one given, [0-9a-f]{64}" "$lethe" verify certificate.json --key stranger.pub
refused "the private key" 'stranger: is a private key, where the public one is due' "$lethe" verify certificate.json --key stranger
refused "a key of another kind" 'rsa\.pub: is a key of another kind' "$lethe" verify certificate.json --key rsa.pub
refused "no key" 'nowhere\.pub' "$lethe" verify certificate.json --key nowhere.pub
refused "a picture for a key" 'is no key in PEM' "$lethe" verify certificate.json --key "$(ls faces/train/*/*.jpg | head -1)"
refused "no --key" '--key' "$lethe" verify certificate.json
refused "no certificate" 'verify takes one certificate' "$lethe" verify --key key.pub
refused "a recipe for a certificate" 'recipe\.json:1: ' "$lethe" verify recipe.json --key key.pub
refused "a folder for a certificate" 'a folder' "$lethe" verify faces --key key.pub
refused "the opening of another" 'belongs to another certificate' verify --opening same_opening.json
refused "an opening with less" 'opening\.json|less\.json' sh -c "python3 -c 'import json; o = json.load(open(\"opening.json\")); o[\"samples\"].pop(); json.dump(o, open(\"less.json\", \"w\"))'; $lethe verify certificate.json --key key.pub --opening less.json"
refused "an opening of somebody else" 'samples\[0\].*is not among' sh -c "python3 -c 'import json; o = json.load(open(\"opening.json\")); o[\"samples\"][0][\"id\"] = \"x\"; json.dump(o, open(\"less.json\", \"w\"))'; $lethe verify certificate.json --key key.pub --opening less.json"
exit $failed
