#!/bin/bash
# lethe import and files of weights in the place of checkpoints: a small MAE in PyTorch's format (tests/golden/
# make_torch.py), what is told of its keys, and files that are refused. Usage: tests/test_import.sh [BUILD]
set -u
. tests/sandbox.sh
failed=0
torch=tests/golden/torch

complain() {
    echo "test_import: $1" >&2
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

"$lethe" synth faces --out "$work/faces" --count 32 --identities 4 --size 32 --seed 1 >/dev/null || exit 1
set="--set data.train=$work/faces/train --set data.test=$work/faces/test --set train.batch=8 --set train.epochs=1 --set schedule.warmup_epochs=0 --set device=cpu"

# the file, its keys, and the checkpoint made of it
says "inspect" '^mae\.pth: 39 tensors' "$lethe" inspect $torch/mae.pth
says "inspect, the optimizer" 'and 1 tensors beside the model' "$lethe" inspect $torch/mae.pth
says "import" 'PyTorch zip, 39 tensors, [0-9]+ parameters: MAE ViT/8 of width 64 and depth 1, with its decoder' "$lethe" import $torch/mae.pth --out "$work/a"
says "import, unexpected" '^Unexpected key\(s\) in state_dict \(1\): "extra\.weight"$' "$lethe" import $torch/mae.pth --out "$work/b"
says "inspect what was imported" '^model\.safetensors: 38 tensors' "$lethe" inspect "$work/a"
cmp -s "$work/a/checkpoints/0/model.safetensors" "$work/b/checkpoints/0/model.safetensors" || complain "two imports differ"
grep -q '"decoder_dim": 32' "$work/a/recipe.json" || complain "the recipe does not have the decoder's width"

# the checkpoint, the file, and the file as its own recipe: one loss
loss() { "$lethe" eval "$@" $set 2>/dev/null | sed -n 's/.* loss //p'; }
one=$(loss "$work/a" --checkpoint "$work/a")
two=$(loss "$work/a" --checkpoint $torch/mae.pth)
three=$(loss $torch/mae.pth --checkpoint "$work/a/checkpoints/0/model.safetensors")
[ -n "$one" ] && [ "$one" = "$two" ] && [ "$one" = "$three" ] || complain "three ways to the same weights, and losses $one, $two, $three"
says "eval, unexpected" 'warning: .*mae\.pth: 1 of its tensors are not in this model: "extra\.weight"' "$lethe" eval "$work/a" --checkpoint $torch/mae.pth $set
says "train --init" '^38 of 38 tensors from .*mae\.pth; 1 of its tensors are not in this model' "$lethe" train "$work/a" --out "$work/run" --init $torch/mae.pth $set
says "train --init of the import" '^38 of 38 tensors from' "$lethe" train "$work/a" --out "$work/run2" --init "$work/a" $set

says "the format before 1.6" '^legacy\.pth: 7 tensors' "$lethe" inspect $torch/legacy.pth

# keys that are not there, and weights of something else
refused "missing" 'mae\.pth: 12 tensors of the model are missing' "$lethe" import $torch/mae.pth --out "$work/c" --set model.depth=2
"$lethe" import $torch/mae.pth --out "$work/c" --set model.depth=2 2>/dev/null | grep -q '^Missing key(s) in state_dict (12): "blocks\.1\.norm1\.weight", ' || complain "the missing keys are not listed"
refused "another shape" 'mae\.pth: does not fit this model: tensor "pos_embed" is F16\[1, 17, 64\] in the file, f32\[1, 65, 64\]' "$lethe" import $torch/mae.pth --out "$work/c" --set model.image_size=64
refused "unknown model" 'linear\.pth: its 7 tensors are of no model that Lethe knows; the first is "0\.weight"' "$lethe" import $torch/linear.pth --out "$work/c"
refused "a MAE to segment with" 'mae\.pth: is a model of task "mae"' "$lethe" segment --checkpoint $torch/mae.pth tests/golden/photos/astronaut_64.jpg --point 3,3 --out "$work/c"
refused "a folder with something in it" 'not empty' "$lethe" import $torch/mae.pth --out "$work/faces"
refused "a folder for a file" 'is a folder' "$lethe" import "$work/a" --out "$work/c"
refused "no file" 'nowhere\.pth' "$lethe" import "$work/nowhere.pth" --out "$work/c"
refused "no --out" '--out' "$lethe" import $torch/mae.pth

# hostile files
head -c 100000 $torch/mae.pth >"$work/cut.pth"
printf '\x1f\x8b\x08 and so on' >"$work/gz.pth"
printf '<!DOCTYPE html><html>' >"$work/page.pth"
refused "a call" 'byte [0-9]+ of evil/data\.pkl: global (posix|os)\.system is not allowed' "$lethe" import $torch/evil.pth --out "$work/c"
[ -e /tmp/lethe_was_here ] && complain "something of evil.pth was executed"
refused "compressed" 'is compressed; torch\.save stores' "$lethe" import $torch/packed.pth --out "$work/c"
refused "TorchScript" 'TorchScript' "$lethe" import $torch/script.pth --out "$work/c"
refused "cut short" 'cut\.pth: .*cut short' "$lethe" import "$work/cut.pth" --out "$work/c"
refused "gzip" 'gz\.pth: is compressed by gzip' "$lethe" eval "$work/a" --checkpoint "$work/gz.pth" $set
refused "a web page" 'page\.pth: is a web page' "$lethe" train "$work/a" --out "$work/c" --init "$work/page.pth" $set
[ -e "$work/c/checkpoints/0" ] && complain "a refused file left a checkpoint"
exit $failed
