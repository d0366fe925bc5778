#!/bin/sh
# make demo: from drawn faces, or from DATA=folder (a subfolder a person), to demo/report.html and demo/forgot. A small
# masked autoencoder is pretrained, fine-tuned to tell the people apart, and what came out is shown; then the model is
# made to forget one of them, next to one that never saw them. All that is written lies in demo/; a new run begins by
# removing what the last one wrote there, and nothing else.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."

lethe=${LETHE:-./lethe}
data=${DATA:-}
pretrain=recipes/mae/demo.json
finetune=recipes/classify/demo.json
unlearn=recipes/unlearn/demo.json
drawn=800         # training images the recipes' epochs are meant for
test_most=1000    # test images, of all people together
shown=8           # pictures to reconstruct
threads_most=8    # a small model gains nothing from more
. cli/demo_parts.sh

is_image() {
    case $1 in
    *.[jJ][pP][gG] | *.[jJ][pP][eE][gG] | *.[pP][nN][gG]) [ -f "$1" ] ;;
    *) return 1 ;;
    esac
}

# images_in FOLDER: all, a line each.
images_in() {
    find -L "$1" -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' \)
}

# Links one person's images into demo/images/train and, the last three tenths, into demo/images/test.
split_person() {
    name=$(basename "$1")
    count=0
    for f in "$1"/*; do is_image "$f" && count=$((count + 1)); done
    [ $count -ge 2 ] || return 0
    for_test=$((count * 3 / 10))
    [ $for_test -ge 1 ] || for_test=1
    mkdir -p "demo/images/train/$name" "demo/images/test/$name"
    seen=0
    for f in "$1"/*; do
        is_image "$f" || continue
        seen=$((seen + 1))
        if [ $seen -le $((count - for_test)) ]; then
            ln -s "$f" "demo/images/train/$name/"
        elif [ $((seen - count + for_test)) -le $test_each ]; then
            ln -s "$f" "demo/images/test/$name/"
        fi
    done
    people=$((people + 1))
}

# Sets train, and people: how many; 0: nobody is told apart.
take_images() {
    people=0
    who=""
    train=demo/images/train
    if [ -z "$data" ]; then
        echo "Drawing 1000 faces of 20 people."
        work "$lethe" synth faces --out demo/images --count 1000 --identities 20 --seed 1
        people=20
        return
    fi
    [ -d "$data" ] || fail "DATA=$data: no such folder"
    data=$(cd "$data" && pwd)
    folders=0
    for d in "$data"/*/; do [ -d "$d" ] && folders=$((folders + 1)); done
    test_each=$((test_most / (folders + 1) + 1))
    for d in "$data"/*/; do [ -d "$d" ] && split_person "${d%/}"; done
    if [ $people -lt 2 ]; then
        rm -rf demo/images
        people=0
        train=$data
        echo "No subfolders with two images or more in $data: pretraining only, nobody to tell apart."
    else
        echo "Images of $people people in $data: the first seven tenths of each are for training."
    fi
}

# number FILE KEY: a whole number of a recipe.
number() {
    sed -n "s/.*\"$2\": *\([0-9][0-9]*\).*/\1/p" "$1" | head -n 1
}

# fit_length RECIPE FOLDER: settings that make it take as many steps as with the drawn faces, however many images there are.
fit_length() {
    settings="--set threads=$threads"
    [ -n "$data" ] || return 0
    images=$(images_in "$2" | wc -l)
    [ "$images" -ge 2 ] || fail "$2: fewer than two JPEG or PNG images"
    batch=$(number "$1" batch)
    steps=$(($(number "$1" epochs) * drawn / batch))
    [ "$images" -ge "$batch" ] || batch=$images # so few are seen less often, not in many more steps
    epochs=$(((steps * batch + images - 1) / images))
    settings="$settings --set train.batch=$batch --set train.epochs=$epochs --set train.steps=$steps"
    settings="$settings --set train.eval_every=$((epochs / 20 + 1)) --set train.checkpoint_every=$((steps / 10 + 1))"
    settings="$settings --set schedule.warmup_epochs=$((epochs / 20))"
}

# The last test image of each of the first people; of a folder without people, its first images.
pick_shown() {
    if [ $people -gt 0 ]; then
        for d in demo/images/test/*/; do
            for f in "$d"*; do last=$f; done
            printf '%s\n' "$last"
        done
    else
        images_in "$data" | sort
    fi | head -n $shown
}

reconstruct() {
    pick_shown > demo/shown.txt
    set --
    while IFS= read -r f; do set -- "$@" "$f"; done < demo/shown.txt
    rm demo/shown.txt
    work "$lethe" predict demo/mae --checkpoint demo/mae --out demo/reconstructions "$@"
}

recognise() {
    echo "Fine-tuning it to tell $people people apart."
    fit_length $finetune "$train"
    work "$lethe" train $finetune --init demo/mae --out demo/identity --set data.train=$train \
        --set data.test=demo/images/test $settings
    work "$lethe" eval demo/identity --checkpoint demo/identity --json demo/eval.json
    work "$lethe" predict demo/identity --checkpoint demo/identity --out demo/predictions demo/images/test/*/*
}

# The first person, whom the model will be asked to forget, joins when people are told apart: the encoder never sees them,
# and a model that is trained anew without them may begin with it. Sets who, and others: the images of everybody else.
leave_out() {
    mkdir demo/images/others
    who=""
    for d in demo/images/train/*/; do
        d=$(basename "$d")
        if [ -z "$who" ]; then who=$d; else ln -s "../train/$d" demo/images/others/; fi
    done
    others=demo/images/others
    [ "$(images_in $others | wc -l)" -ge 2 ] || others=$train
}

# The reference is fine-tuned from the same encoder without them.
forget() {
    echo "Training once more without $who, to compare with."
    work "$lethe" keygen --out demo/key.pem
    set -- --checkpoint demo/identity --forget "identity=$who" --key demo/key.pem
    work "$lethe" unlearn $unlearn "$@" --method retrain --set unlearn.retrain.init=demo/mae --out demo/reference
    echo "Forgetting $who."
    work "$lethe" unlearn $unlearn "$@" --reference demo/reference --out demo/forgot
    work "$lethe" verify demo/forgot/certificate.json --key demo/key.pem.pub --checkpoint demo/forgot
}

report() {
    set -- --title "Lethe: faces, learnt and recognised" --run demo/mae
    for f in demo/reconstructions/*.png; do
        set -- "$@" --picture "Original; what the encoder saw, a quarter of the patches; what the decoder made of \
it; the same with the visible patches put back. All are test images.=$f"
    done
    note="A masked autoencoder learnt to fill in hidden patches of the training images."
    if [ $people -gt 0 ]; then
        note="$note Its encoder was then fine-tuned to tell $people people apart, and tested on images of them it \
had never seen."
        set -- "$@" --run demo/identity --predictions demo/predictions/predictions.jsonl
    fi
    [ -n "$data" ] || note="$note The people are drawn by lethe synth: none of them exists."
    work "$lethe" report --out demo/report.html --note "$note" "$@"
}

begin images mae reconstructions identity predictions eval.json report.html key.pem key.pem.pub reference \
    reference.opening.json reference.report.html forgot forgot.opening.json forgot.report.html
threads=$(threads $threads_most)
take_images
others=$train
[ $people -eq 0 ] || leave_out
echo "Pretraining a small masked autoencoder${who:+, without $who}."
fit_length $pretrain "$others"
work "$lethe" train $pretrain --out demo/mae --set data.train="$others" $settings
reconstruct
[ $people -eq 0 ] || recognise
report
[ $people -eq 0 ] || forget

finish
if [ $people -gt 0 ]; then
    printf 'Test accuracy: %.1f %% of %d images of %d people.\n' \
        "$(sed -n 's/.*"top1": *\([0-9.]*\).*/\1/p' demo/eval.json)" "$(number demo/eval.json samples)" "$people"
fi
echo "Report: demo/report.html"
[ $people -eq 0 ] || echo "One person forgotten, audited, signed: demo/forgot.report.html"
