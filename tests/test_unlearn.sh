#!/bin/bash
# Unlearning as a user meets it, on drawn faces: what is asked wrongly, what the new folder holds and no longer holds, data
# that has moved or is deleted, kills at any moment, two at one place, a grid of methods that is interrupted.
# Usage: tests/test_unlearn.sh [BUILD]. With LETHE_QUICK (sanitizers do not share a program with LD_PRELOAD) kills go by
# the clock alone.
set -u
quick=${LETHE_QUICK:-}
. tests/sandbox.sh
faults=$PWD/$build/tests/faults.so
failed=0
complain() { echo "test_unlearn: $*" >&2; failed=1; }
sum() { (cd "$1" && find . -printf '%p %y %l %T@ %m\n' | sort && find . -type f -exec sha256sum {} + | sort) | sha256sum; }
model() { sha256sum <"$1/checkpoints/last/model.safetensors"; }
json() { sed -nE "s/.*\"$2\": ([0-9.e+-]+).*/\\1/p" "$1" | head -1; }

# refused NAME PATTERN COMMAND...: status 1, one line on stderr, and that line matches
refused() {
    local name=$1 pattern=$2 out status
    shift 2
    out=$("$@" 2>&1 >/dev/null)
    status=$?
    [ $status = 1 ] && [ "$(printf '%s\n' "$out" | wc -l)" = 1 ] && printf '%s' "$out" | grep -qE -e "$pattern" ||
        complain "$name: status $status, wanted 1 and /$pattern/, got: $out"
}

export LETHE_KEY=$work/key.pem
"$lethe" keygen --out "$LETHE_KEY" >/dev/null || exit 1
faces=$work/faces run=$work/run
"$lethe" synth faces --out "$faces" --count 60 --identities 6 --size 32 --seed 5 >/dev/null || exit 1
cat >"$work/c.json" <<'JSON'
{"task": "classify", "seed": 7, "model": {"image_size": 32, "patch": 8, "dim": 32, "depth": 1, "heads": 2},
 "data": {"eval_crop": 1}, "train": {"batch": 12, "epochs": 20, "eval_every": 10}, "optim": {"lr": 0.004, "ema": 0.9}}
JSON
cat >"$work/u.json" <<'JSON'
{"audit": {"relearn_steps": 0, "quantise": false, "probe": false}, "unlearn": {"fine_tune": {"epochs": 5}, "salun": {"epochs": 3}, "scrub": {"epochs": 3}}}
JSON
"$lethe" train "$work/c.json" --set data.train="$faces/train" --set data.test="$faces/test" --out "$run" >/dev/null || exit 1
before=$(sum "$run")
unlearn=("$lethe" unlearn "$work/u.json" --checkpoint "$run")
one="--forget identity=person_0002"
forget() { # forget OUT METHOD [ARGUMENT]...
    # shellcheck disable=SC2086
    "${unlearn[@]}" $one --out "$work/$1" --method "${@:2}" >"$work/log" 2>&1
}

# ---- what would be done; what cannot be done ----
"${unlearn[@]}" $one --dry-run >"$work/log" 2>&1 || complain "dry run: $(cat "$work/log")"
grep -q "^to be forgotten: 8 of 48 samples" "$work/log" && grep -q "salun .*retained, forgotten" "$work/log" &&
    grep -q "i2i .*cannot be used here" "$work/log" || complain "dry run: $(cat "$work/log")"
refused "a wrong name" 'there is no identity person_002 .*person_000[0-9]' "${unlearn[@]}" --forget identity=person_002 --out "$work/o"
refused "a wrong id" 'there is no sample 480 .*40' "${unlearn[@]}" --forget sample=480 --out "$work/o"
refused "no request" 'forget is missing' "${unlearn[@]}" --out "$work/o"
refused "nothing" 'that is none of 48' "${unlearn[@]}" --forget random=0.001 --out "$work/o"
refused "everybody" 'every one of 48' "${unlearn[@]}" --forget random=0.999 --out "$work/o"
refused "no method of that name" 'unlearn.method.*salun' "${unlearn[@]}" $one --method saluun --out "$work/o"
refused "a method that is not for it" 'i2i.* is for models that encode and decode' "${unlearn[@]}" $one --method i2i --out "$work/o"
refused "another model" 'model.dim is 64.* 32' "${unlearn[@]}" $one --set model.dim=64 --out "$work/o"
refused "a file of weights" 'manifest' "$lethe" unlearn "$work/u.json" --checkpoint "$run/checkpoints/last/model.safetensors" $one --out "$work/o"
cp -r "$run" "$work/hurt"
for f in "$work/hurt/manifest.jsonl" "$work/hurt/checkpoints/"[0-9]*/manifest.jsonl; do sed 's/person_0003/person_0004/' "$f" >"$work/text" && cat "$work/text" >"$f"; done
# shellcheck disable=SC2086
"$lethe" unlearn "$work/u.json" --checkpoint "$work/hurt" $one --out "$work/o" >/dev/null 2>"$work/log" && complain "a changed manifest was believed"
grep -q '^lethe: .*without a manifest nobody knows' "$work/log" || complain "a changed manifest: $(cat "$work/log")"
mkdir "$work/there" && echo mine >"$work/there/file"
refused "a place that is taken" 'there: is there already' "${unlearn[@]}" $one --out "$work/there/"
[ "$(cat "$work/there/file")" = mine ] || complain "the user's folder was changed"
mkdir "$work/mine.partial" && echo mine >"$work/mine.partial/photo.jpg"
refused "a folder of the user's beside it" 'mine.partial: holds photo.jpg' "${unlearn[@]}" $one --out "$work/mine"
[ "$(cat "$work/mine.partial/photo.jpg")" = mine ] || complain "the user's folder beside it was changed"
refused "data of somebody else" 'is not what the model was trained on' "${unlearn[@]}" $one --set data.train="$faces/test" --out "$work/o"
[ -e "$work/o" ] || [ -e "$work/o.partial" ] && complain "what was refused left a folder"

# ---- whole ----
forget salun salun || complain "salun: $(tail -3 "$work/log")"
forget fine fine_tune --no-pictures || complain "fine_tune: $(tail -3 "$work/log")"
forget new retrain --no-pictures || complain "retrain: $(tail -3 "$work/log")"
for out in salun fine new; do
    o=$work/$out
    text=$(python3 tests/holds.py "$run/manifest.jsonl" "$o/manifest.jsonl" "$o" 2>&1) || complain "$out: $text"
    [ "$text" = "8 samples gone" ] || complain "$out: $text"
    cmp -s "$o/manifest.jsonl" "$o/checkpoints/last/manifest.jsonl" || complain "$out: two manifests"
    [ "$(model "$o")" != "$(model "$run")" ] || complain "$out: the weights are what they were"
    [ "$(find "$o/checkpoints" -mindepth 1 -maxdepth 1 -type d | wc -l)" = 1 ] || complain "$out: more than one checkpoint"
    [ -e "$o.partial" ] && complain "$out: $o.partial is left"
    [ -s "$o.opening.json" ] || complain "$out: no $o.opening.json"
    "$lethe" verify "$o/certificate.json" --key "$LETHE_KEY.pub" --checkpoint "$o" >"$work/log" 2>&1 || complain "verify $out: $(tail -1 "$work/log")"
    for f in audit.json recipe.json certificate.json checkpoints/last/state.json; do [ -s "$o/$f" ] || complain "$out: no $f"; done
    "$lethe" inspect "$o" >"$work/log" 2>&1 || complain "inspect $out: $(tail -1 "$work/log")"
    "$lethe" eval "$o" --checkpoint "$o" --json "$work/eval.json" >"$work/log" 2>&1 || complain "eval $out: $(tail -1 "$work/log")"
    [ "$(json "$work/eval.json" samples)" = 12 ] || complain "eval $out: $(cat "$work/eval.json")"
    "$lethe" predict "$o" --checkpoint "$o" --out "$work/p" "$faces"/test/person_0000/*.jpg >"$work/log" 2>&1 || complain "predict $out: $(tail -1 "$work/log")"
done
[ "$before" = "$(sum "$run")" ] || complain "the checkpoint that went in was changed"

# ---- where it may write: not into what goes in, and an audit or a grid not into what is not its own ----
state=$(sum "$work/fine")
audit=("$lethe" audit "$work/u.json" --before "$run" --after "$work/fine" $one)
bench=("$lethe" unlearn-bench "$work/u.json" --checkpoint "$run" --methods ssd --seeds 1 $one)
ln -s "$run" "$work/link"
mkdir "$work/anew" && echo mine >"$work/anew/file"
refused "an audit into an output" 'fine: lies inside .*fine, which stays' "${audit[@]}" --out "$work/fine"
refused "an audit into another output" 'salun: is there already, and holds' "${audit[@]}" --out "$work/salun"
refused "an audit into the run" 'link/new/../checkpoints/a: lies inside .*run, which stays' "${audit[@]}" --out "$work/link/new/../checkpoints/a"
refused "an audit into its reference" 'new/a: lies inside' "${audit[@]}" --reference "$work/new/checkpoints/last/model.safetensors" --out "$work/new/a"
refused "an audit into a file" 'u.json: is there already' "${audit[@]}" --out "$work/u.json"
refused "a grid into the run" 'run: lies inside' "${bench[@]}" --out "$run"
refused "a grid into another run" 'new: is there already, and holds' "${bench[@]}" --out "$work/new"
refused "a grid into the user's folder" 'anew: is there already, and holds file' "${bench[@]}" --out "$work/anew"
refused "an output into the run" 'sub: lies inside' "$lethe" unlearn "$work/u.json" --checkpoint "$run/checkpoints/last" $one --out "$work/link/sub"
(cd "$run" && refused "an output into the run, from there" 'sub: lies inside' "$lethe" unlearn "$work/u.json" --checkpoint . $one --out sub; exit $failed) || failed=1
[ "$before" = "$(sum "$run")" ] && [ "$state" = "$(sum "$work/fine")" ] || complain "what was refused changed a model"
for i in 1 2; do "${audit[@]}" --out "$work/audit" >"$work/log" 2>&1 || complain "audit $i: $(tail -1 "$work/log")"; done
[ "$(ls "$work/audit" | wc -l)" = 2 ] || complain "an audit writes $(ls "$work/audit")"
rm -r "$work/anew" "$work/link"

# retraining is training where they never were: to the bit, by the same seed (the run's, 7, times 1000003, and unlearn.seed, 0),
# as long as those that stay keep their numbers. Of a run with an average, that is the model.
cp -r "$faces/train" "$work/less"
for n in 46 47; do rm "$work/less/$(sed -nE "s|.*\"id\": $n, \"path\": \".*/(person_0005/[0-9]+.jpg)\".*|\1|p" "$run/manifest.jsonl")" || complain "sample $n"; done
"$lethe" train "$work/c.json" --set seed=7000021 --set data.train="$work/less" --set data.test="$faces/test" --out "$work/never" >/dev/null || complain "training without them"
"${unlearn[@]}" --forget sample=46,47 --method retrain --no-pictures --out "$work/anew" >"$work/log" 2>&1 || complain "retrain: $(tail -1 "$work/log")"
cmp "$work/anew/checkpoints/last/model.safetensors" "$work/never/checkpoints/last/ema.safetensors" || complain "retraining is not training without them"

# ---- what the record says, and what it must not ----
record() { python3 - "$work/$1" "$2" <<'P'
import json, sys
folder = sys.argv[1]
record, opening = json.load(open(folder + "/certificate.json")), json.load(open(folder + ".opening.json"))
print(eval(sys.argv[2]))
P
}
says() { # says OUT EXPRESSION VALUE
    local text
    text=$(record "$1" "$2" 2>&1)
    [ "$text" = "$3" ] || complain "the record of $1, $2: wanted $3, got $text"
}
verified() { "$lethe" verify "$work/$1/certificate.json" --key "$LETHE_KEY.pub" --checkpoint "$work/$1" --opening "$work/$1.opening.json" >"$work/log" 2>&1 || complain "verify $1: $(tail -1 "$work/log")"; }
hash=$(sha256sum <"$run/manifest.jsonl" | cut -d' ' -f1)
for out in salun fine new; do
    verified $out
    grep -qE "$hash|: $(stat -c %s "$run/manifest.jsonl")," "$work/$out/certificate.json" && complain "$out: the record tells what the old manifest was"
    grep -q "$(record $out 'opening["manifest_before"]')" "$work/$out/certificate.json" && complain "$out: the record has the old manifest's root"
    says $out 'len(opening["old_lists"]), {l["sha256"] for l in opening["old_lists"]}' "($(find "$run" -name manifest.jsonl | wc -l), {'$hash'})"
done
says salun 'record["claim"]["level"]' heuristic
says salun '"meant to" in record["claim"]["text"], record["references"]' '(True, [])'
says new 'record["claim"]["level"], "never read" in record["claim"]["text"]' "('exact', True)"
says new 'opening["request"]' identity=person_0002

# retraining that begins with weights which knew them, with some that did not, with some of which nobody knows
first() { # first OUT INIT
    rm -rf "$work/$1" "$work/$1.opening.json"
    # shellcheck disable=SC2086
    "${unlearn[@]}" $one --out "$work/$1" --method retrain --no-pictures --set train.epochs=1 --set unlearn.retrain.init="$2" >"$work/log" 2>&1 || complain "$1: $(tail -1 "$work/log")"
    grep warning "$work/log" >"$work/told"
    verified "$1"
}
cp -r "$run" "$work/knew"
for init in "$work/knew" "$work/knew/checkpoints/last/model.safetensors" "$run"; do
    first known "$init"
    [ "$(grep -c 'init .*was trained with 8 of the forgotten' "$work/told")" = 1 ] || complain "no warning of $init: $(cat "$work/told")"
    says known 'record["claim"]["level"], "trained with 8 of the forgotten" in record["claim"]["text"]' "('heuristic', True)"
    says known 'len({f["path"] for f in record["old_state"]}) == len(record["old_state"])' True
    grep -q 'trained with 8 of the forgotten' "$work/known/report.html" || complain "$init: the page does not say what training began with"
    grep -qE 'claimed: Exact|was trained without them|never seen</span>' "$work/known/report.html" && complain "$init: the page says that they were never seen"
done
first known "$work/knew"
says known "any('/knew/' in f['path'] and f['role'] == 'checkpoint' for f in record['old_state'])" True
first stranger "$work/fine"
[ -s "$work/told" ] && complain "a warning of weights that did not know them: $(cat "$work/told")"
says stranger 'record["claim"]["level"], "lists none of the forgotten" in record["claim"]["text"], any("/fine/" in f["path"] for f in record["old_state"])' "('exact', True, False)"
cp "$run/checkpoints/last/model.safetensors" "$work/bare.safetensors"
first unsaid "$work/bare.safetensors"
says unsaid 'record["claim"]["level"], "cannot know" in record["claim"]["text"]' "('exact', True)"

# a method that did nothing
forget idle ssd --set unlearn.ssd.alpha=1000000 --no-pictures || complain "idle: $(tail -1 "$work/log")"
[ "$(grep -c 'warning: ssd changed no weight' "$work/log")" = 1 ] || complain "nobody says that nothing was changed: $(cat "$work/log")"
says idle '"Not a single weight was changed" in record["claim"]["text"]' True
says salun '"Not a single weight" in record["claim"]["text"]' False

# references that knew them are none
# shellcheck disable=SC2086
refused "a reference that knew them" 'reference .*knew: was trained with 8 of the forgotten' "${unlearn[@]}" $one --method ssd --reference "$work/new" --reference "$work/knew" --out "$work/o"
audit=("$lethe" audit "$work/u.json" --before "$run" --forget identity=person_0002 --no-pictures --out "$work/audit")
refused "an audit's reference that knew them" 'reference .*knew: was trained with 8 of the forgotten' "${audit[@]}" --after "$work/fine" --reference "$work/knew"
"${audit[@]}" --after "$work/fine" --after "$work/knew" --reference "$work/new" >/dev/null 2>"$work/log" || complain "audit: $(cat "$work/log")"
[ "$(grep -c 'warning: --after .*knew: its manifest still lists 8 of the forgotten' "$work/log")" = 1 ] || complain "an audit of what has not forgotten: $(cat "$work/log")"
forget held ssd --reference "$work/new" --reference "$work/known" --no-pictures || complain "held against two: $(tail -1 "$work/log")"
says held 'record["references"]' "['$(model "$work/new" | cut -d' ' -f1)', '$(model "$work/known" | cut -d' ' -f1)']"

# samples that are drawn: the request is only whole with its seed
"${unlearn[@]}" --forget random=0.1 --seed 3 --method ssd --no-pictures --out "$work/drawn" >"$work/log" 2>&1 || complain "drawn: $(tail -1 "$work/log")"
says drawn 'opening["request"]' 'random=0.1 seed=3'
verified drawn
echo random=0.1 >"$work/list"
"${unlearn[@]}" --forget sample=3 --forget @"$work/list" --method ssd --no-pictures --out "$work/mixed" >"$work/log" 2>&1 || complain "mixed: $(tail -1 "$work/log")"
says mixed 'opening["request"], record["request"]["kind"]' "('sample=3 @$work/list seed=0', 'mixed')"
"$lethe" verify "$work/mixed/certificate.json" --key "$LETHE_KEY.pub" --opening <(sed 's/ seed=0/ seed=1/' "$work/mixed.opening.json") >/dev/null 2>"$work/log" && complain "another seed fits the record"

# it does not go on where it was: its moments are gone; what begins with its weights is another run
fine=$(model "$work/fine")
refused "going on with it" 'has no optimizer' "$lethe" train "$work/fine" --resume --set train.epochs=30
[ "$fine" = "$(model "$work/fine")" ] || complain "a refused resume changed the weights"
"$lethe" train "$work/c.json" --init "$work/fine" --set train.epochs=1 --set data.train="$faces/train" --set data.test="$faces/test" --out "$work/on" >"$work/log" 2>&1 ||
    complain "beginning with it: $(tail -1 "$work/log")"

# forgetting again, from the result; the first stays forgotten
"$lethe" unlearn "$work/u.json" --checkpoint "$work/fine" --forget identity=person_0004 --method fine_tune --no-pictures --out "$work/twice" >"$work/log" 2>&1 || complain "twice: $(tail -1 "$work/log")"
text=$(python3 tests/holds.py "$run/manifest.jsonl" "$work/twice/manifest.jsonl" "$work/twice" 2>&1) && [ "$text" = "16 samples gone" ] || complain "twice: $text"

# unlearn.stop: passes end when the forgotten are known no more, and that is so of the model that comes out
for m in "scrub 0.01" "boundary_expand 0.02" "laf 0.003" "fine_tune 0.5" "l1_sparse 0.5"; do
    forget stop ${m% *} --no-pictures --set unlearn.${m% *}.lr=${m#* } --set unlearn.${m% *}.epochs=40 --set unlearn.stop=true || complain "stop, $m: $(tail -1 "$work/log")"
    n=$(sed -nE 's/.*: ([0-9]+) updates in.*/\1/p' "$work/log")
    [ "${n:-99}" -lt 40 ] || complain "stop, $m: $n updates"
    grep -qE '^UA .* 100 \[' "$work/log" || complain "stop, $m: $(grep '^UA' "$work/log")"
    rm -rf "$work/stop" "$work/stop.opening.json"
done

# ---- the same on data that has moved, with the forgotten deleted or not, or with somebody new ----
mkdir -p "$work/else/where" && cp -r "$faces/train" "$work/else/where/people" && cp -r "$faces/test" "$work/else/unseen"
moved="--set data.train=$work/else/where/people --set data.test=$work/else/unseen"
# shellcheck disable=SC2086
forget moved salun $moved || complain "moved data: $(tail -1 "$work/log")"
[ "$(model "$work/moved")" = "$(model "$work/salun")" ] || complain "moved data gives other weights"
cp "$faces/train/person_0001/0001.jpg" "$work/renamed.jpg"
"${unlearn[@]}" --forget file="$work/renamed.jpg" --dry-run >"$work/log" 2>&1
grep -q "person_0001/0001.jpg" "$work/log" || complain "a renamed file is not found: $(head -3 "$work/log")"
rm -r "$work/else/where/people/person_0002"
cp -r "$work/else/where/people/person_0003" "$work/else/where/people/person_0001b"
for m in "fine fine_tune" "new retrain"; do
    # shellcheck disable=SC2086
    forget deleted ${m#* } $moved || complain "deleted files, ${m#* }: $(tail -1 "$work/log")"
    [ "$(model "$work/deleted")" = "$(model "$work/${m% *}")" ] || complain "${m#* } gives other weights when the forgotten are deleted"
    rm -rf "$work/deleted"
done
# shellcheck disable=SC2086
refused "salun without the forgotten" 'salun.* needs the forgotten samples themselves' "${unlearn[@]}" $one --method salun $moved --out "$work/o"
rm "$work/else/where/people/person_0005/0001.jpg"
# shellcheck disable=SC2086
refused "a retained sample that is gone" '1 samples that .* shall stay are not there .*person_0005/0001.jpg' "${unlearn[@]}" $one --method retrain $moved --out "$work/o"

# another picture under the name of one that stays: it could be of the person
cp -r "$faces" "$work/other" && cp "$faces/train/person_0002/0001.jpg" "$work/other/train/person_0003/0001.jpg"
# shellcheck disable=SC2086
refused "a retained sample with another content" '1 samples that shall stay are not, by their SHA-256, .*person_0003/0001.jpg' "${unlearn[@]}" $one --method retrain \
    --set data.train="$work/other/train" --out "$work/o"

# the same picture twice: who stays would teach it anew
cp -r "$faces" "$work/twins" && cp "$work/twins/train/person_0000/0001.jpg" "$work/twins/train/person_0003/0001.jpg"
"$lethe" train "$work/c.json" --set train.epochs=1 --set data.train="$work/twins/train" --set data.test="$faces/test" --out "$work/twinrun" >/dev/null || exit 1
"$lethe" unlearn "$work/u.json" --checkpoint "$work/twinrun" --forget path=person_0000/0001.jpg --dry-run >/dev/null 2>"$work/log"
grep -q "warning: 1 of the samples that stay.*person_0003/0001.jpg" "$work/log" || complain "twins: $(cat "$work/log")"

# batch norm: its statistics are of the retained samples; a single one cannot be learnt with it, which is told
"$lethe" train "$work/c.json" --set model.train=probe --set optim.name=lars --set optim.lr=0.1 --set optim.ema=0 --init "$run" \
    --set data.train="$faces/train" --set data.test="$faces/test" --out "$work/probe" >/dev/null || exit 1
for m in fine_tune boundary_shrink; do
    "$lethe" unlearn "$work/u.json" --checkpoint "$work/probe" --forget identity=person_0002 --method $m --set unlearn.batch=13 \
        --set audit.relearn_steps=10 --set audit.probe=true --out "$work/probe-$m" >"$work/log" 2>&1 || complain "probe, $m: $(tail -1 "$work/log")"
done
statistic() { python3 -c "
import json, sys
data = open(sys.argv[1], 'rb').read()
n = int.from_bytes(data[:8], 'little')
t = json.loads(data[8:8 + n])['head.0.running_var']['data_offsets']
print(data[8 + n + t[0]:8 + n + t[1]].hex())" "$1/checkpoints/last/model.safetensors"; }
[ -n "$(statistic "$work/probe")" ] && [ "$(statistic "$work/probe")" != "$(statistic "$work/probe-fine_tune")" ] || complain "batch norm's statistics are what they were"
[ "$(statistic "$work/probe-fine_tune")" = "$(statistic "$work/probe-boundary_shrink")" ] || complain "the same encoder and samples give two statistics"
refused "one sample and batch norm" 'a step of 1 samples: batch norm needs 2' "$lethe" unlearn "$work/u.json" --checkpoint "$work/probe" --forget sample=3 --method neggrad --out "$work/o"

# ---- killed at many moments ----
whole=$(model "$work/salun")
began=$(date +%s%N)
forget time salun
took=$((($(date +%s%N) - began) / 1000)) # in microseconds
RANDOM=4
kills=0 calls=("any 60" "write 14" "sync 12" "rename 8" "link 1" "make 5" "open 12") # of a kind, so many in a run
for i in $(seq 24); do
    if [ $((i % 3)) != 0 ] && [ -z "$quick" ]; then # before or in the middle of a call that writes; the last renames are the end
        read -r kind most <<<"${calls[$((i % 7))]}"
        n=$((RANDOM % most)) action=KILL
        [ "$kind" = write ] && action=TEAR
        { LETHE_FAULT=$kind:$n:$action LD_PRELOAD=$faults "${unlearn[@]}" $one --method salun --out "$work/cut" >/dev/null 2>&1; } 2>/dev/null
        [ $? -gt 128 ] && kills=$((kills + 1))
    else
        # shellcheck disable=SC2086
        "${unlearn[@]}" $one --method salun --out "$work/cut" >/dev/null 2>&1 &
        pid=$!
        sleep "$(awk "BEGIN { print $took * $((RANDOM % 90)) * 1e-8 }")"
        kill -9 $pid 2>/dev/null && kills=$((kills + 1))
        wait $pid 2>/dev/null
    fi
    if [ -e "$work/cut" ]; then # whole
        [ "$(model "$work/cut")" = "$whole" ] && [ -s "$work/cut/audit.json" ] && [ -s "$work/cut.opening.json" ] && [ -s "$work/cut.report.html" ] && "$lethe" inspect "$work/cut" >/dev/null 2>&1 || complain "kill $i left a part of it"
        rm -rf "$work/cut" "$work/cut.opening.json" "$work/cut.report.html"
    fi
done
[ "$kills" -ge $((quick ? 4 : 12)) ] || complain "only $kills of 24 kills met a running program"
touch "$work/cut.report.html.partial" "$work/cut.report.html.partial.7.tmp" "$work/cut.opening.json.partial.7.tmp" "$work/cut.report.html.partial.mine"
forget cut salun || complain "after the kills: $(tail -1 "$work/log")"
[ "$(model "$work/cut")" = "$whole" ] || complain "after the kills: other weights"
[ -s "$work/cut.report.html" ] && [ -e "$work/cut.report.html.partial.mine" ] || complain "after the kills: $(ls -d "$work"/cut*)"
ls -d "$work"/cut.*partial "$work"/cut.*.tmp >"$work/log" 2>/dev/null && complain "after the kills is left: $(cat "$work/log")"

# killed before and after each of the last steps: an output that is there has all that stands beside it
if [ -z "$quick" ]; then
    for kind in sync rename; do
        there=0 n=0 status=137
        for ((; status > 128 && n < 60; n++)); do
            { LETHE_FAULT=$kind:$n:KILL LD_PRELOAD=$faults "${unlearn[@]}" $one --method neggrad --out "$work/end" >/dev/null 2>"$work/log"; } 2>/dev/null
            status=$?
            [ -e "$work/end" ] || continue
            [ $status -gt 128 ] && there=$((there + 1))
            [ -s "$work/end.report.html" ] && [ -s "$work/end.opening.json" ] && [ -s "$work/end/certificate.json" ] || complain "killed at $kind $n: $(ls -d "$work"/end*)"
            rm -r "$work"/end*
        done
        [ $status = 0 ] && [ $n -gt 5 ] || complain "killed at $kind $n: status $status, $(cat "$work/log")"
        [ $kind = rename ] || [ $there -gt 0 ] || complain "no kill came after the output"
    done
fi

# a call that fails, at every place: one line, nothing left, nothing changed
if [ -z "$quick" ]; then
    for fault in write:8:FULL sync:0:EIO sync:2:EIO sync:4:EIO rename:0:EIO rename:2:EACCES rename:4:EIO rename:5:EIO rename:7:EIO rename:8:EIO rename:9:EIO rename:10:EIO make:2:EACCES open:0:EMFILE open:2:EIO; do
        # shellcheck disable=SC2086
        LETHE_FAULT=$fault LD_PRELOAD=$faults "${unlearn[@]}" $one --method fine_tune --out "$work/no" >/dev/null 2>"$work/log"
        [ $? = 1 ] && [ "$(grep -v '^warning: ' "$work/log" | grep -c '^lethe: ')" = 1 ] || complain "$fault: $(cat "$work/log")"
        ls -d "$work"/no* >"$work/left" 2>/dev/null && complain "$fault left $(cat "$work/left")"
        rm -rf "$work"/no*
    done
fi

# ---- two at one place: one of them is told, and the other's work is whole ----
# shellcheck disable=SC2086
"${unlearn[@]}" $one --method salun --set unlearn.salun.epochs=300 --out "$work/both" >/dev/null 2>&1 &
pid=$!
for _ in $(seq 100); do [ -e "$work/both.partial/metrics.jsonl" ] && break; sleep 0.02; done
refused "the second" 'both.partial: another process writes to it' "${unlearn[@]}" $one --method fine_tune --out "$work/both"
wait $pid || complain "the first of two failed"
[ -s "$work/both/audit.json" ] && "$lethe" inspect "$work/both" >/dev/null || complain "the first of two is not whole"
[ "$before" = "$(sum "$run")" ] || complain "kills or faults changed the checkpoint that went in"

# ---- a grid ----
bench=("$lethe" unlearn-bench "$work/u.json" --checkpoint "$run" --methods salun,fine_tune,i2i,ssd --seeds 2)
# what has no time in it
table() { python3 - "$1/table.json" <<'P'
import json, sys
t = json.load(open(sys.argv[1]))
for m in t.values():
    for f in (m.get("figures", m) if isinstance(m, dict) else {}), :
        for key in ("seconds", "rte"): f.pop(key, None)
print(json.dumps(t, sort_keys=True, indent=1))
P
}
# shellcheck disable=SC2086
"${bench[@]}" $one --out "$work/grid" >"$work/log" 2>&1 || complain "unlearn-bench: $(tail -3 "$work/log")"
for f in table.html table.csv table.json; do [ -s "$work/grid/$f" ] || complain "unlearn-bench: no $f"; done
grep -q "i2i.*encode and decode" "$work/log" || complain "unlearn-bench says nothing of what cannot be used: $(tail -8 "$work/log")"
for i in 1 2 3 4 5; do # each time a little farther
    # shellcheck disable=SC2086
    "${bench[@]}" $one --out "$work/again" >/dev/null 2>&1 &
    pid=$!
    for _ in $(seq 200); do [ "$(find "$work/again/cells" -name '*.json' 2>/dev/null | wc -l)" -ge "$i" ] && break; sleep 0.01; done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
done
# shellcheck disable=SC2086
"${bench[@]}" $one --out "$work/again" >"$work/log" 2>&1 || complain "unlearn-bench, resumed: $(tail -3 "$work/log")"
diff <(table "$work/grid") <(table "$work/again") >"$work/diff" || complain "an interrupted grid: $(head -5 "$work/diff")"
table "$work/grid" >"$work/table" && grep -q '"salun"' "$work/table" || complain "the table: $(head -5 "$work/table")"
refused "another request in its place" 'again: was begun with another' "${bench[@]}" --forget identity=person_0001 --out "$work/again"
refused "another checkpoint in its place" 'again: was begun with' "$lethe" unlearn-bench "$work/u.json" --checkpoint "$work/fine" --methods salun,fine_tune,i2i,ssd --seeds 2 --forget identity=person_0001 --out "$work/again"
refused "other settings in its place" 'again: was begun with other settings' "${bench[@]}" $one --set unlearn.batch=7 --out "$work/again"
# one method's settings: its cells alone are made anew
stamp() { (cd "$1/cells" && stat -c '%n %y' "$2"-*.json); }
old_ssd=$(stamp "$work/again" ssd) old_salun=$(stamp "$work/again" salun)
# shellcheck disable=SC2086
"${bench[@]}" $one --set unlearn.salun.lr=0.02 --out "$work/again" >"$work/log" 2>&1 || complain "other settings of one method: $(tail -3 "$work/log")"
[ "$(stamp "$work/again" ssd)" = "$old_ssd" ] && [ "$(stamp "$work/again" salun)" != "$old_salun" ] || complain "a method's new settings: $(stamp "$work/again" ssd) $(stamp "$work/again" salun)"
# another audit: all figures anew, of the same retrained weights
weights() { (cd "$1/cells" && stat -c '%n %y' retrain-*.safetensors); }
old_weights=$(weights "$work/again") old_ssd=$(stamp "$work/again" ssd)
# shellcheck disable=SC2086
"${bench[@]}" $one --set audit.quantise=true --set audit.relearn_steps=2 --out "$work/again" >"$work/log" 2>&1 || complain "another audit: $(tail -3 "$work/log")"
[ "$(weights "$work/again")" = "$old_weights" ] && [ "$(stamp "$work/again" ssd)" != "$old_ssd" ] || complain "another audit: $(weights "$work/again")"
grep -q ua_int8 "$work/again/table.json" || complain "another audit: its figures are not in the table"
# retraining knows nobody again in two updates: that is no figure like the others, in cells that were just made and in those that are read
unlearnt='"relearn": {"value": 2, "at_least": true}'
grep -qF "$unlearnt" "$work/again/table.json" && rm "$work/again/table.json" || complain "another audit: relearning is not marked"
# shellcheck disable=SC2086
"${bench[@]}" $one --set audit.quantise=true --set audit.relearn_steps=2 --out "$work/again" >"$work/log" 2>&1 && grep -qF "$unlearnt" "$work/again/table.json" ||
    complain "another audit, read again: relearning is not marked"
# shellcheck disable=SC2086
"${bench[@]}" $one --out "$work/again" >"$work/log" 2>&1 || complain "and back: $(tail -3 "$work/log")"
diff <(table "$work/grid") <(table "$work/again") >"$work/diff" || complain "settings there and back: $(head -5 "$work/diff")"
refused "no such method" 'no method "saluun"; did you mean salun' "$lethe" unlearn-bench "$work/u.json" --checkpoint "$run" --methods saluun $one --out "$work/o"
for damage in '{"method": "salun"' '{"error": 3}' '{"error": "", "figures": {"ua": "x"}}' ''; do
    printf '%s' "$damage" >"$work/again/cells/salun-2.json"
    refused "a damaged cell" 'salun-2.json' "${bench[@]}" $one --out "$work/again"
done
rm "$work/again/cells/salun-2.json" "$work/again/cells/retrain-2.safetensors"
# shellcheck disable=SC2086
"${bench[@]}" $one --out "$work/again" >"$work/log" 2>&1 && complain "the retrained weights are gone, and nobody says so" || grep -q "retrain-2" "$work/log" || complain "weights gone: $(tail -1 "$work/log")"
rm "$work/again/cells/retrain-2.json"
# shellcheck disable=SC2086
"${bench[@]}" $one --out "$work/again" >"$work/log" 2>&1 || complain "a cell measured anew: $(tail -1 "$work/log")"
diff <(table "$work/grid") <(table "$work/again") >"$work/diff" || complain "a cell measured anew: $(head -5 "$work/diff")"
# methods that are not asked for keep their cells, the settings these were made with, and their place in the table
grow() { "$lethe" unlearn-bench "$work/u.json" --checkpoint "$run" $one --seeds 1 --out "$work/grown" --methods "$@"; }
grow fine_tune --set unlearn.fine_tune.lr=0.02 >"$work/log" 2>&1 || complain "a grid to grow: $(tail -1 "$work/log")"
old=$(stamp "$work/grown" fine_tune)
grow ssd >"$work/log" 2>&1 || complain "another method: $(tail -1 "$work/log")"
[ "$(stamp "$work/grown" fine_tune)" = "$old" ] || complain "a method that was not asked for: $(stamp "$work/grown" fine_tune), was $old"
grep -q '"fine_tune"' "$work/grown/table.json" && grep -q '"ssd"' "$work/grown/table.json" || complain "a method that was not asked for is not in the table"
refused "another audit for some" 'grown: has results of fine_tune from when audit.quantise was false; it is now true' grow ssd --set audit.quantise=true
refused "other settings of what another runs" 'grown: has results of fine_tune from when unlearn.fine_tune.lr was 0.02' grow prune
refused "another retraining for some" 'grown: has results of fine_tune from when unlearn.retrain' grow ssd --set unlearn.retrain.init="$run"
old_ssd=$(stamp "$work/grown" ssd)
grow ssd,fine_tune --set unlearn.fine_tune.lr=0.02 >"$work/log" 2>&1 || complain "both: $(tail -1 "$work/log")"
[ "$(stamp "$work/grown" fine_tune)" = "$old" ] && [ "$(stamp "$work/grown" ssd)" = "$old_ssd" ] || complain "the settings of both are what they were, and they were made anew"
grow fine_tune >"$work/log" 2>&1 || complain "new settings: $(tail -1 "$work/log")"
[ "$(stamp "$work/grown" fine_tune)" != "$old" ] && [ "$(stamp "$work/grown" ssd)" = "$old_ssd" ] || complain "new settings of one"
grow ssd --seeds 2 2>&1 >"$work/log" | grep . && complain "more seeds: $(tail -1 "$work/log")"
grep -q 'fine_tune: has 1 of 2 seeds' "$work/log" && ! grep -q '"fine_tune"' "$work/grown/table.json" || complain "more seeds: $(head -3 "$work/log")"
# a reference that begins with weights that knew them
grow ssd,fine_tune --set unlearn.retrain.init="$run" >"$work/log" 2>&1 || complain "another beginning: $(tail -1 "$work/log")"
grep -q 'warning: unlearn.retrain.init .*was trained with 8 of the forgotten' "$work/log" || complain "a grid says nothing of what its reference began with: $(cat "$work/log")"
exit $failed
