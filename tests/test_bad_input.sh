#!/bin/bash
# What users get wrong and what strangers send: each one clear line on stderr that names the file and the field, exit
# status 1, and nothing overwritten. Usage: tests/test_bad_input.sh [BUILD]
set -u
. tests/sandbox.sh
failed=0

# refused NAME PATTERN COMMAND...: status 1, one line on stderr, and that line matches
refused() {
    local name=$1 pattern=$2 out status
    shift 2
    out=$("$@" 2>&1 >/dev/null)
    status=$?
    if [ $status != 1 ] || [ "$(printf '%s\n' "$out" | wc -l)" != 1 ] || ! printf '%s' "$out" | grep -qE "$pattern"; then
        echo "test_bad_input: $name: status $status, wanted 1 and /$pattern/, got: $out" >&2
        failed=1
    fi
}

"$lethe" synth faces --out "$work/faces" --count 32 --identities 4 --size 32 --seed 1 >/dev/null || exit 1
data=$work/faces/train
good='{"task": "mae", "model": {"image_size": 32, "patch": 8, "dim": 32, "depth": 1, "heads": 2, "decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 2}, "train": {"batch": 8, "epochs": 1}}'
echo "$good" >"$work/good.json"
recipe() { printf '%s' "$2" >"$work/$1.json"; }
train() { "$lethe" train "$@"; }

recipe key '{"task": "mae", "train": {"bacth": 8}}'
refused "misspelt key" 'key\.json:1:[0-9]+: train\.bacth.*train\.batch' train "$work/key.json" --out "$work/r"
recipe type '{"task": "mae", "train": {"batch": "many"}}'
refused "wrong type" 'type\.json:1:[0-9]+: train\.batch.*many|type\.json:1:[0-9]+: train\.batch' train "$work/type.json" --out "$work/r"
recipe range '{"task": "mae", "model": {"mask_ratio": 1.5}}'
refused "out of range" 'range\.json:1:[0-9]+: model\.mask_ratio.*0\.99' train "$work/range.json" --out "$work/r"
recipe comma '{"task": "mae", "train": {"batch": 8,}}'
refused "trailing comma" 'comma\.json:1:[0-9]+' train "$work/comma.json" --out "$work/r"
recipe choice '{"task": "mea"}'
refused "unknown task" 'choice\.json:1:[0-9]+: task.*mae' train "$work/choice.json" --out "$work/r"
refused "unknown --set" 'train\.epoch' train "$work/good.json" --set train.epoch=3 --out "$work/r"
refused "no recipe" 'nothere\.json' train "$work/nothere.json" --out "$work/r"
refused "no verb" 'trian.*train' "$lethe" trian
refused "unknown option" 'outt' train "$work/good.json" --outt x
refused "no such folder" 'data\.train|nowhere' train "$work/good.json" --set data.train="$work/nowhere" --out "$work/r"
mkdir "$work/empty"
refused "empty folder" "empty" train "$work/good.json" --set data.train="$work/empty" --out "$work/r"
refused "no data" 'data\.train' train "$work/good.json" --out "$work/r"
[ -e "$work/r" ] && { echo "test_bad_input: a refused run left $work/r" >&2; failed=1; }

# a folder without read permission: root reads all the same, so another user tries
if [ "$(id -u)" = 0 ]; then
    mkdir "$work/locked" && cp "$data"/*/*.jpg "$work/locked" 2>/dev/null
    chmod 755 "$work"
    chmod 000 "$work/locked"
    cp "$lethe" "$work/lethe"
    refused "unreadable folder" 'locked.*([Pp]ermission|read)' \
        setpriv --reuid 65534 --regid 65534 --clear-groups "$work/lethe" train "$work/good.json" --set data.train="$work/locked" --out /tmp/never
    chmod 755 "$work/locked"
fi

recipe classify '{"task": "classify", "model": {"image_size": 32, "patch": 8, "dim": 32, "depth": 1, "heads": 2}, "train": {"batch": 8, "epochs": 1}}'

# hostile files
train "$work/good.json" --set data.train="$data" --out "$work/run" >/dev/null || exit 1
sum() { find "$1" -type f -exec sha256sum {} + | sort | sha256sum; }
before=$(sum "$work/run")
mkdir "$work/cut" "$work/png"
photo=tests/golden/photos/coffee_224.jpg
head -c $(($(stat -c %s $photo) / 2)) $photo >"$work/cut/half.jpg"
# a PNG of 50,000 x 50,000 RGBA pixels, 10 GB, with right checksums and a few bytes of data
printf '\211PNG\r\n\032\n\000\000\000\015IHDR\000\000\303\120\000\000\303\120\010\006\000\000\000\113\257\075\312\000\000\000\021IDAT\170\234\143\140\030\005\243\140\024\014\167\000\000\003\350\000\001\263\246\323\106' >"$work/png/huge.png"
for f in cut/half.jpg png/huge.png; do
    refused "predict $f" "$f" "$lethe" predict "$work/good.json" --checkpoint "$work/run" --out "$work/p" "$work/$f"
    refused "train on $f" "$f" train "$work/good.json" --set data.train="$work/${f%/*}" --set train.batch=1 --set data.corrupt=stop --out "$work/r2"
done
printf '\000\344\013\124\002\000\000\000{"a"' >"$work/huge.safetensors" # a header of 10,000,000,000 bytes
refused "safetensors header" 'huge\.safetensors' "$lethe" inspect "$work/huge.safetensors"
refused "--init of it" 'huge\.safetensors' train "$work/good.json" --set data.train="$data" --init "$work/huge.safetensors" --out "$work/r3"
refused "eval without a checkpoint" 'nowhere' "$lethe" eval "$work/good.json" --checkpoint "$work/nowhere"

# a run is not written over, and does not resume as another model
refused "a second start" 'run' train "$work/good.json" --set data.train="$data" --out "$work/run"
refused "another architecture" 'run|dim|shape' train "$work/good.json" --set data.train="$data" --set model.dim=64 --set train.epochs=2 --out "$work/run" --resume
refused "another head count" 'model\.heads 2 .* 4' train "$work/good.json" --set data.train="$data" --set model.heads=4 --set train.epochs=2 --out "$work/run" --resume
refused "another seed" 'seed 0 .* 9' train "$work/good.json" --set data.train="$data" --set seed=9 --set train.epochs=2 --out "$work/run" --resume
refused "eval with other heads" 'good\.json: model\.heads is 4, but .* 2' "$lethe" eval "$work/good.json" --checkpoint "$work/run" --set model.heads=4 --set data.test="$data"
refused "predict as another task" 'task is .*classify.* for .*mae' "$lethe" predict "$work/classify.json" --checkpoint "$work/run" --out "$work/p" "$photo"
refused "another batch" 'train\.batch 8 .* 4' train "$work/good.json" --set data.train="$data" --set train.batch=4 --set train.epochs=2 --out "$work/run" --resume
[ "$before" = "$(sum "$work/run")" ] || { echo "test_bad_input: a refused command changed the run" >&2; failed=1; }

# nothing of the user's is written over
mkdir "$work/own" && cp "$work/good.json" "$work/own/recipe.json"
refused "the user's recipe" 'own/recipe\.json' train "$work/own/recipe.json" --set data.train="$data" --out "$work/own"
cmp -s "$work/good.json" "$work/own/recipe.json" || { echo "test_bad_input: the user's recipe was written over" >&2; failed=1; }
cp $photo "$work/own/a.png"
refused "predict over its image" 'own/a\.png' "$lethe" predict "$work/run" --checkpoint "$work/run" --out "$work/own" "$work/own/a.png"
cmp -s $photo "$work/own/a.png" || { echo "test_bad_input: predict wrote over its image" >&2; failed=1; }

# a classifier wants classes, a head has its limits, batch norm wants two
mkdir "$work/flat" && cp "$data"/person_0000/*.jpg "$work/flat"
refused "no classes" 'classify\.json.*classes' train "$work/classify.json" --set data.train="$work/flat" --set model.classes=3 --set train.batch=4 --out "$work/r4"
refused "no classes in the test set" 'data\.test.*flat.*classes' train "$work/classify.json" --set data.train="$data" --set data.test="$work/flat" --out "$work/r4"
refused "a wide head" 'model\.heads' train "$work/good.json" --set data.train="$data" --set model.dim=1024 --set model.heads=1 --out "$work/r4"
refused "nothing hidden" 'mask_ratio' train "$work/good.json" --set data.train="$data" --set model.mask_ratio=0 --out "$work/r4"
refused "a batch of one" 'train\.batch is 1' train "$work/classify.json" --set data.train="$data" --set model.train=probe --set train.batch=1 --out "$work/r4"

for verb in train eval predict inspect synth bench report help; do
    "$lethe" $verb --help >"$work/help" 2>&1 && grep -q '^usage: lethe' "$work/help" || { echo "test_bad_input: $verb --help" >&2; failed=1; }
done
exit $failed
