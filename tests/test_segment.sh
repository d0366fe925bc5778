#!/bin/bash
# lethe segment: prompts about one image and what is written of it, refinement by logits and by a mask, everything in
# a folder, prompts from a COCO file on one rank and on two, damaged images, and what users get wrong.
# Usage: tests/test_segment.sh [BUILD]
set -u
. tests/sandbox.sh
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
[ -z "${LETHE_QUICK:-}" ] || export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 # of what MPI keeps to the end
failed=0
complain() { echo "test_segment: $*" >&2; failed=1; }

"$lethe" synth shapes --out "$work/shapes" --count 15 --size 96 --seed 3 >/dev/null || exit 1
cat >"$work/r.json" <<'JSON'
{"task": "segment", "seed": 3, "model": {"size": "micro", "image_size": 128},
 "data": {"geometry": "longest", "masks_per_image": 2},
 "train": {"batch": 2, "steps": 2, "epochs": 1000, "eval_every": 0}, "optim": {"lr": 0.001}}
JSON
"$lethe" train "$work/r.json" --set data.train="$work/shapes/train.json" --out "$work/run" >"$work/log" 2>&1 ||
    { cat "$work/log"; exit 1; }
images=("$work"/shapes/test/*.jpg)
image=${images[0]} name=$(basename "${images[0]}" .jpg)
segment() { "$lethe" segment --checkpoint "$work/run" "$@"; }
# area FILE N: of annotation N
area() { sed -nE "s/.*\"id\": $2, \"image_id\".*\"area\": ([0-9]+),.*/\\1/p" "$1"; }

# one prompt: four files; what is printed is what stands in the JSON
segment "$image" --point 40,40 --point=10,10,0 --box 20,20,70,70.5 --save-logits --out "$work/one" >"$work/log" 2>&1 ||
    complain "a prompt: $(cat "$work/log")"
for f in "$name.png" "${name}_mask.png" "$name.json" "${name}_logits.safetensors"; do
    [ -s "$work/one/$f" ] || complain "$f was not written"
done
grep -q "^${name}_mask.png: $(area "$work/one/$name.json" 1) pixels, predicted IoU" "$work/log" || complain "said: $(cat "$work/log")"
grep -q '"prompt": {"points": \[\[40, 40, 1\], \[10, 10, 0\]\], "box": \[20, 20, 70, 70.5\]}' "$work/one/$name.json" ||
    complain "the prompt in the JSON: $(tail -2 "$work/one/$name.json")"

# three answers, then each way to go on from them; a mask is taken as it is
segment "$image" --point 40,40 --multimask --save-logits --out "$work/three" >/dev/null 2>&1 || complain "--multimask"
[ "$(grep -c '"predicted_iou"' "$work/three/$name.json")" = 3 ] && [ -s "$work/three/${name}_mask2.png" ] || complain "not three masks"
for mask in "${name}_logits.safetensors" "${name}_mask0.png"; do
    segment "$image" --point 50,50 --mask "$work/three/$mask" --out "$work/again" >"$work/log" 2>&1 || complain "--mask $mask: $(cat "$work/log")"
    grep -q "\"mask\": \"$work/three/$mask\"" "$work/again/$name.json" || complain "$mask is not in the JSON"
done
segment "$image" --mask "$work/three/${name}_logits.safetensors" --dtype bf16 --out "$work/again" >/dev/null 2>&1 || complain "a mask alone, in bf16"

# everything: the records are COCO annotations that can be read as prompts, one PNG each
loose="--everything --points-per-side 3 --iou-threshold 0 --stability-threshold 0 --nms 1"
segment "$image" $loose --masks --out "$work/all" >"$work/log" 2>&1 || complain "--everything: $(cat "$work/log")"
n=$(grep -c '"stability_score"' "$work/all/$name.json")
[ "$n" = 27 ] && [ "$(ls "$work/all/${name}_masks" | wc -l)" = "$n" ] || complain "--everything: $n records of 27"
grep -q '"point_coords": \[\[16, 16\]\], "crop_box": \[0, 0, 96, 96\]' "$work/all/$name.json" || complain "points: $(sed -n 4p "$work/all/$name.json")"
segment --prompts "$work/all/$name.json" --images / --from centre --out "$work/centre" >"$work/log" 2>&1 && complain "an absolute path of an image was followed"
sed "s|$work/shapes/test/||" "$work/all/$name.json" >"$work/all.json"
segment --prompts "$work/all.json" --images "$work/shapes/test" --from centre --multimask --out "$work/centre" >"$work/log" 2>&1 ||
    complain "--from centre: $(cat "$work/log")"
[ "$(grep -c '"score"' "$work/centre/results.json")" = "$n" ] || complain "--from centre: $(grep -c '"score"' "$work/centre/results.json") results"
segment "$image" --everything --points-per-side 4 --crop-layers 1 --crop-points-shrink 2 --min-area 30 --hq-only --out "$work/x" >/dev/null 2>"$work/log" &&
    complain "--hq-only without HQ-SAM"
grep -q "is no HQ-SAM" "$work/log" || complain "--hq-only: $(cat "$work/log")"

# a folder with a damaged image: skipped, named, the others done; a folder of nothing else fails
mkdir "$work/folder" && cp "${images[@]:0:2}" "$work/folder" && head -c 300 "$image" >"$work/folder/bad.jpg"
segment "$work/folder" $loose --crop-layers 1 --crop-points-shrink 3 --min-area 9 --out "$work/many" >/dev/null 2>"$work/log" || complain "a folder: $(cat "$work/log")"
[ "$(ls "$work/many"/*.json | wc -l)" = 2 ] && grep -q "^1 images were skipped" "$work/log" && grep -q "^  .*bad.jpg" "$work/log" ||
    complain "a damaged image: $(cat "$work/log")"
mkdir "$work/bad" && cp "$work/folder/bad.jpg" "$work/bad/a.jpg" && cp "$work/folder/bad.jpg" "$work/bad"
segment "$work/bad" --everything --out "$work/none" >/dev/null 2>"$work/log" && complain "only damaged images"
grep -q "none of the 2 images could be used" "$work/log" || complain "only damaged images: $(cat "$work/log")"

# COCO prompts: one rank and two write the same bytes
segment --prompts "$work/shapes/test.json" --pictures --out "$work/coco1" >"$work/log" 2>&1 || complain "--prompts: $(cat "$work/log")"
timeout -k 5 200 mpirun -np 2 "$lethe" segment --checkpoint "$work/run" --prompts "$work/shapes/test.json" --out "$work/coco2" >"$work/log" 2>&1 ||
    complain "--prompts on two ranks: $(cat "$work/log")"
cmp "$work/coco1/results.json" "$work/coco2/results.json" || complain "two ranks write other results"
[ "$(grep -c '"score"' "$work/coco1/results.json")" = "$(grep -o '"iscrowd": *0' "$work/shapes/test.json" | wc -l)" ] || complain "not a result for each annotation"
[ "$(ls "$work/coco1"/*.png | wc -l)" = "${#images[@]}" ] || complain "--pictures"
segment --prompts "$work/shapes/test.json" --from centre --out "$work/coco4" >"$work/log" 2>&1 || complain "--from centre: $(cat "$work/log")"
[ "$(grep -c '"score"' "$work/coco4/results.json")" = "$(grep -c '"score"' "$work/coco1/results.json")" ] || complain "--from centre: other numbers"
cmp -s "$work/coco1/results.json" "$work/coco4/results.json" && complain "a point answers as a box"
mv "$image" "$work/away"
timeout -k 5 200 mpirun -np 2 "$lethe" segment --checkpoint "$work/run" --prompts "$work/shapes/test.json" --out "$work/coco3" >"$work/log" 2>&1 ||
    complain "an image is missing: $(cat "$work/log")"
grep -q "^1 images were skipped by rank 0" "$work/log" || complain "a missing image: $(cat "$work/log")"
mv "$work/away" "$image"

# what users get wrong: one line, nothing written
wrong() {
    local text=$1
    shift
    "$lethe" segment --out "$work/wrong" "$@" >"$work/out" 2>"$work/log" && complain "$text: no error"
    grep -q -- "$text" "$work/log" && [ "$(wc -l <"$work/log")" = 1 ] || complain "$text: $(cat "$work/log")"
}
c=(--checkpoint "$work/run")
wrong "outside .*which is 96 x 96" "${c[@]}" "$image" --point 96,3
wrong "leaves .*which is 96 x 96" "${c[@]}" "$image" --box 3,3,97,9
wrong "x1 must be greater" "${c[@]}" "$image" --box 9,3,9,9
wrong "expected x,y" "${c[@]}" "$image" --point 9
wrong "expected x,y" "${c[@]}" "$image" --point 9,3,1,
wrong "0 (outside) or 1" "${c[@]}" "$image" --point 9,3,2
wrong "one --box a call" "${c[@]}" "$image" --box 1,1,2,2 --box 1,1,3,3
wrong "the image that the prompt is about" "${c[@]}" --point 9,3
wrong "no prompt" "${c[@]}" "$image"
wrong "about one image" "${c[@]}" "$image" "$image" --point 9,3
wrong "about one image" "${c[@]}" "$work/folder" --point 9,3
wrong "exclude each other" "${c[@]}" "$image" --point 9,3 --everything
wrong "takes --checkpoint and --out" "$image" --point 9,3
wrong "points-per-side is 0" "${c[@]}" "$image" --everything --points-per-side 0
wrong "nms takes a number" "${c[@]}" "$image" --everything --nms much
wrong "dtype is f32 or bf16" "${c[@]}" "$image" --everything --dtype f16
wrong "bad.jpg" "${c[@]}" "$work/folder/bad.jpg" --point 9,3
wrong "is 96 x 96, the image" "${c[@]}" tests/golden/photos/coffee_64.jpg --mask "$image"
wrong "needs a tensor" "${c[@]}" "$image" --mask "$work/run/checkpoints/last/model.safetensors"
wrong "too few for crops" "${c[@]}" "$image" --everything --crop-layers 6 --crop-overlap 0
[ ! -e "$work/wrong" ] || [ -z "$(ls "$work/wrong")" ] || complain "an error left files: $(ls "$work/wrong")"
cp "$image" "$work/folder/p.png" # a JPEG by its first bytes
"$lethe" segment "${c[@]}" "$work/folder/p.png" --point 9,3 --out "$work/folder" >/dev/null 2>"$work/log" && complain "the image was overwritten"
cmp -s "$image" "$work/folder/p.png" && grep -q "give another --out" "$work/log" || complain "overwriting: $(cat "$work/log")"
"$lethe" synth faces --out "$work/faces" --count 10 --identities 2 --size 32 >/dev/null
echo '{"task": "mae", "model": {"size": "micro", "image_size": 32, "patch": 8}, "train": {"batch": 2, "steps": 1}}' >"$work/m.json"
"$lethe" train "$work/m.json" --set data.train="$work/faces/train" --out "$work/mae" >/dev/null 2>&1 || complain "a run of another task"
wrong 'is a model of task "mae"' --checkpoint "$work/mae" "$image" --point 9,3
exit $failed
