#!/bin/sh
# make demo-segment: from drawn scenes of shapes to demo/segment.html. A small SAM learns to cut shapes out, is tested on
# scenes it has never seen, and then cuts everything out of some of them. All that is written lies in demo/.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."

lethe=${LETHE:-./lethe}
recipe=recipes/segment/shapes.json
scenes=250        # drawn, every fifth for testing; what the recipe's epochs are meant for
shown="000005 000010 000015"
threads_most=8
. cli/demo_parts.sh

everything() {
    set --
    for n in $shown; do set -- "$@" "demo/shapes/test/$n.jpg"; done
    work "$lethe" segment --checkpoint demo/segment --everything --points-per-side 16 --iou-threshold 0.55 \
        --stability-threshold 0.75 --nms 0.4 --min-area 30 --out demo/everything "$@"
    work "$lethe" segment --checkpoint demo/segment --prompts demo/shapes/test.json --pictures --out demo/boxes
}

report() {
    set -- --title "Lethe: cutting out shapes" --run demo/segment
    for n in $shown; do
        set -- "$@" --picture "Everything: asked at a grid of 16 x 16 points, without a hint. The scenes are test \
scenes.=demo/everything/$n.png"
    done
    for n in $shown; do
        set -- "$@" --picture "The same scenes, each thing prompted by its box.=demo/boxes/$n.png"
    done
    work "$lethe" report --out demo/segment.html \
        --note "A small Segment Anything model learnt from drawn scenes to cut out what a box or a click points at." "$@"
}

begin shapes segment everything boxes segment.html
echo "Drawing $scenes scenes of shapes."
work "$lethe" synth shapes --out demo/shapes --count $scenes --size 128 --seed 1
echo "Training a small SAM to cut them out."
work "$lethe" train $recipe --out demo/segment --set data.train=demo/shapes/train.json \
    --set data.test=demo/shapes/test.json --set threads="$(threads $threads_most)"
everything
report
finish
sed -n 's/.*"miou_box": *\([0-9.]*\).*/Mean IoU of the test masks, prompted by a box: \1/p' demo/segment/metrics.jsonl | tail -n 1
echo "Report: demo/segment.html"
