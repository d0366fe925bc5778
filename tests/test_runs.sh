#!/bin/bash
# What a run promises beside resuming to the bit: it is found again when links are lost, classes are the model's
# whatever folders the test set has, and damaged images are skipped, counted and listed.
# Usage: tests/test_runs.sh [BUILD]
set -u
. tests/sandbox.sh
failed=0
complain() { echo "test_runs: $*" >&2; failed=1; }
json() { sed -nE "s/.*\"$2\": ([0-9.e+-]+).*/\\1/p" "$1" | head -1; }

"$lethe" synth faces --out "$work/faces" --count 60 --identities 4 --size 32 --seed 1 >/dev/null || exit 1
data=$work/faces
cat >"$work/c.json" <<'JSON'
{"task": "classify", "model": {"image_size": 32, "patch": 8, "dim": 32, "depth": 1, "heads": 2},
 "data": {"eval_crop": 1, "corrupt_max": 0.2},
 "train": {"batch": 8, "epochs": 4, "keep": 0}, "optim": {"lr": 0.002}}
JSON
train() { "$lethe" train "$work/c.json" --set data.train="$data/train" --set data.test="$data/test" "$@"; }

# a lost link: the newest whole checkpoint is taken, nothing begins anew
train --out "$work/run" >/dev/null || exit 1
rows=$(wc -l <"$work/run/metrics.jsonl")
rm "$work/run/checkpoints/last"
train --out "$work/run" --resume --set train.epochs=5 >"$work/log" 2>&1 || complain "no resuming without the link last"
grep -q "resuming .* after update 24" "$work/log" || complain "began anew: $(head -1 "$work/log")"
[ "$(wc -l <"$work/run/metrics.jsonl")" -gt "$rows" ] || complain "rows of metrics.jsonl were lost"
"$lethe" train "$work/run" --resume >"$work/log" 2>&1 || complain "a run's folder as the recipe"
grep -q "all updates are done" "$work/log" || complain "a finished run: $(cat "$work/log")"

# --keep, and the best kept beside
train --out "$work/kept" --keep 1 >/dev/null || exit 1
left=$(find "$work/kept/checkpoints" -maxdepth 1 -type d -name '[0-9]*' | wc -l)
[ "$left" -ge 1 ] && [ "$left" -le 2 ] || complain "--keep 1 left $left checkpoints"

# classes: of a test set with some of them only, by a recipe of one's own, with the training data gone
"$lethe" eval "$work/run" --checkpoint "$work/run" --json "$work/all.json" >/dev/null || complain "eval"
mkdir "$work/some" && cp -r "$data/test/person_0002" "$data/test/person_0003" "$work/some"
"$lethe" eval "$work/run" --checkpoint "$work/run" --set data.test="$work/some" --json "$work/some.json" >/dev/null
"$lethe" eval "$work/c.json" --checkpoint "$work/run" --set data.test="$work/some" --json "$work/own.json" >/dev/null
"$lethe" eval "$work/run" --checkpoint "$work/run" --set data.train=/gone --set data.test="$work/some" --json "$work/gone.json" >/dev/null
for f in own gone; do
    [ -n "$(json "$work/$f.json" loss)" ] && [ "$(json "$work/$f.json" loss)" = "$(json "$work/some.json" loss)" ] ||
        complain "$f: loss $(json "$work/$f.json" loss), not $(json "$work/some.json" loss)"
done
mkdir "$work/strange" && cp -r "$data/test/person_0002" "$work/strange/nobody"
"$lethe" eval "$work/run" --checkpoint "$work/run" --set data.test="$work/strange" >/dev/null 2>"$work/log" && complain "an unknown class was evaluated"
grep -q nobody "$work/log" || complain "an unknown class: $(cat "$work/log")"

# damaged images: skipped, counted, listed at the end; a whole batch of them is no division by zero
cp -r "$data" "$work/hurt"
for f in "$work/hurt/train/person_0001/0001.jpg" "$work"/hurt/test/person_0003/*.jpg; do
    head -c 500 "$f" >"$work/cut" && cat "$work/cut" >"$f"
done
"$lethe" train "$work/c.json" --set data.train="$work/hurt/train" --set data.test="$work/hurt/test" --set data.corrupt_max=0.3 \
    --set train.batch=3 --out "$work/hurtrun" >/dev/null 2>"$work/log" || complain "damaged images ended the run: $(tail -1 "$work/log")"
grep -q "^1 of 48 images of data.train could not be read" "$work/log" || complain "not listed: $(cat "$work/log")"
grep -q "^3 of 12 images of data.test" "$work/log" || complain "not listed for the test: $(cat "$work/log")"
"$lethe" eval "$work/hurtrun" --checkpoint "$work/hurtrun" --json "$work/hurt.json" >/dev/null 2>&1
[ "$(json "$work/hurt.json" samples)" = 9 ] && [ "$(json "$work/hurt.json" skipped)" = 3 ] || complain "eval counts: $(cat "$work/hurt.json")"
"$lethe" predict "$work/run" --checkpoint "$work/run" --out "$work/p" "$work/hurt/train/person_0001/"*.jpg >/dev/null 2>&1 || complain "predict with a damaged image"
[ "$(wc -l <"$work/p/predictions.jsonl")" = $(($(ls "$work/hurt/train/person_0001" | wc -l) - 1)) ] || complain "predict's lines"
exit $failed
