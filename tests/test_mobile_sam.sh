#!/bin/bash
# The published MobileSAM, where it is to be had: imported, asked the prompts of tests/segment/prompts.json, its masks
# held against the reference's (IoU at least 0.999) where PYTHON (default: python3) has torch and mobile_sam.
# Usage: tests/test_mobile_sam.sh [BUILD]
set -u
. tests/sandbox.sh
weights=${LETHE_WEIGHTS:-../shared/weights}/mobile_sam.pt
photos=${LETHE_DATA:-../shared/data}/photos
python=${PYTHON:-python3}
for f in "$weights" "$photos/truck.jpg" "$photos/dog.jpg"; do
    [ -r "$f" ] || { echo "skipped: there is no $f"; exit 77; }
done
"$lethe" import "$weights" --out "$work/run" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }

# ask PHOTO LINE: one prompt is one line of prompts.json
ask() {
    local name box options=() p
    name=$(sed -nE 's/.*"name": "([a-z]+)".*/\1/p' <<<"$2")
    box=$(sed -nE 's/.*"box": \[([0-9, ]+)\].*/\1/p' <<<"$2" | tr -d ' ')
    for p in $(sed -nE 's/.*"points": \[(\[[^"]*\])\].*/\1/p' <<<"$2" | tr -d ' ' | sed 's/\],\[/ /g; s/[][]//g'); do
        options+=(--point "$p")
    done
    [ -z "$box" ] || options+=(--box "$box")
    [[ $2 != *'"multimask": true'* ]] || options+=(--multimask)
    [[ $2 != *'"mask": "points"'* ]] || options+=(--mask "$work/out/$1/points/$1_logits.safetensors")
    "$lethe" segment --checkpoint "$work/run" "$photos/$1.jpg" "${options[@]}" --save-logits \
        --out "$work/out/$1/$name" >"$work/log" 2>&1 && return
    echo "test_mobile_sam: $1, $name: $(cat "$work/log")" >&2
    exit 1
}

while IFS= read -r line; do
    case $line in
    *'.jpg": ['*) photo=$(sed -nE 's/.*"([a-z]+)\.jpg".*/\1/p' <<<"$line") ;;
    *'"name"'*) ask "$photo" "$line" ;;
    esac
done <tests/segment/prompts.json
if ! "$python" -c "import torch, mobile_sam" 2>/dev/null; then
    echo "skipped: masks were made, but $python has no torch and mobile_sam to compare them with"
    exit 77
fi
"$python" -W ignore tests/golden/compare_masks.py "$weights" "$photos" "$work/out"
