#!/bin/bash
# `lethe serve` over HTTP: answers are the command line's; what strangers send is refused in one line; two users, closed
# connections, too many images. Usage: tests/test_serve.sh [BUILD]
set -u
. tests/sandbox.sh
. tests/serve.sh
command -v curl >/dev/null || { echo "SKIP: no curl"; exit 77; }
failed=0
fail() { echo "test_serve: $*" >&2; failed=1; }

octets='Content-Type: application/octet-stream'
json='Content-Type: application/json'

# refused NAME STATUS PATTERN CURL-OPTION...: that status, and {"error": one line that matches}
refused() {
    local name=$1 status=$2 pattern=$3 got
    shift 3
    got=$(curl -s --max-time 60 -w '\n%{http_code}' "$@")
    if [ "$(tail -1 <<<"$got")" != "$status" ] || [ "$(wc -l <<<"$got")" != 2 ] ||
        ! grep -qE "^\{\"error\": \".*($pattern).*\"\}$" <<<"$got"; then
        fail "$name: wanted $status and /$pattern/, got: ${got:0:400}"
    fi
}

# upload FILE: sets id
upload() {
    curl -sN --max-time 120 -H "$octets" --data-binary @"$1" "${url}api/image" >"$work/upload" || fail "upload of $1"
    grep -q '{"ready": true}' "$work/upload" || fail "$1 is not embedded: $(cat "$work/upload")"
    id=$(grep -oE '[0-9a-f]{32}' "$work/upload")
}

# masks ID PROMPT: the answer
masks() { curl -s --max-time 120 -H "$json" -d "$2" "${url}api/image/$1/masks"; }
counts() { grep -oE '"counts": "[^ ]*"'; }
# told IMAGE OPTION...: what the command line says
told() {
    local image=$1
    shift
    "$lethe" segment --checkpoint "$work/model" "$image" "$@" --out "$work/told" >/dev/null && cat "$work/told/"*.json | counts
    rm -rf "$work/told"
}

make_model 64
images=("$work"/shapes/train/*.jpg)
start --max-upload 1

# ---- the page ----
for f in "" page.js api.js draw.js input.js save.js view.js page.css icon.svg; do
    curl -sf "$url$f" >"$work/got" || fail "/$f is not served"
    cmp -s "$work/got" "cli/page/${f:-index.html}" || fail "/$f is not cli/page/${f:-index.html}"
done
curl -si "$url" | tr -d '\r' >"$work/got"
for h in "Content-Security-Policy: default-src 'none'; script-src 'self'" 'X-Content-Type-Options: nosniff' \
    'Cache-Control: no-store' 'Referrer-Policy: no-referrer' 'Content-Type: text/html; charset=utf-8'; do
    grep -qF "$h" "$work/got" || fail "no header $h"
done
curl -sf "${url}api/model" | grep -q '"hq": false, "max_upload": 1048576' || fail "api/model"

# ---- who may ask, and what ----
port=${url##*:} port=${port%/}
refused "another name" 421 "own address" -H "Host: evil.example:$port" "$url"
refused "another port" 421 "own address" -H "Host: 127.0.0.1:1" "$url"
refused "a name that begins alike" 421 "own address" -H "Host: 127.0.0.1.evil.example:$port" "$url"
refused "another origin" 403 "own page" -H "Origin: http://evil.example" "${url}api/model"
refused "a null origin" 403 "own page" -H "Origin: null" -H "$octets" --data-binary @"${images[0]}" "${url}api/image"
refused "another site" 403 "own page" -H "Sec-Fetch-Site: cross-site" "${url}api/model"
[ "$(curl -s -o /dev/null -w '%{http_code}' -H "Host: localhost:$port" -H "Origin: http://localhost:$port" "$url")" = 200 ] || fail "localhost is refused"
refused "no such file" 404 "nothing" "${url}nothing.js"
refused "outside the page" 404 "nothing" --path-as-is "${url}../Makefile"
refused "method" 405 "only POST" "${url}api/image"
refused "method of the page" 405 "only GET" -X POST -d x "$url"
refused "a form's type" 415 "octet-stream" --data-binary @"${images[0]}" "${url}api/image"
refused "no length" 411 "Content-Length" -H "$octets" -H 'Transfer-Encoding: chunked' --data-binary @"${images[0]}" "${url}api/image"

# ---- images ----
head -c 1100000 /dev/zero >"$work/large"
refused "too large" 413 "1\.0 MiB, and at most 1 MiB" -H "$octets" --data-binary @"$work/large" "${url}api/image"
refused "text" 400 "neither a JPEG nor a PNG" -H "$octets" -d hello "${url}api/image"
refused "nothing" 400 "image" -H "$octets" -d '' "${url}api/image"
head -c 700 "${images[0]}" >"$work/cut.jpg"
refused "cut short" 400 "image" -H "$octets" --data-binary @"$work/cut.jpg" "${url}api/image"
# a PNG that says it has 30000 x 30000 pixels
printf '\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x75\x30\0\0\x75\x30\x08\x02\0\0\0\xe9\x45\x6f\xed\x00\x00\x00\x0b\x49\x44\x41\x54\x78\x9c\x63\x60\x80\x00\x00\x00\x08\x00\x01\xb7\x58\x73\x95\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82' >"$work/bomb.png"
refused "too many pixels" 413 "pixel" -H "$octets" --data-binary @"$work/bomb.png" "${url}api/image"

# ---- prompts ----
upload "${images[0]}"
first=$id
one='{"points": [[40, 50, 1]]}' two='{"points": [[40, 50, 1], [90, 20, 0]], "multimask": false}' box='{"box": [10, 20, 90, 100], "multimask": false}'
told "${images[0]}" --point 40,50 --multimask >"$work/want.one"
told "${images[0]}" --point 40,50 --point 90,20,0 >"$work/want.two"
told "${images[0]}" --box 10,20,90,100 >"$work/want.box"
[ "$(wc -l <"$work/want.one")" = 3 ] || fail "the command line gives $(wc -l <"$work/want.one") masks, not 3"
masks "$id" "$one" | counts | cmp -s - "$work/want.one" || fail "a point: not the command line's masks"
masks "$id" "$two" | counts | cmp -s - "$work/want.two" || fail "two points: not the command line's mask"
masks "$id" "$box" | counts | cmp -s - "$work/want.box" || fail "a box: not the command line's mask"
cmp -s "$work/want.two" "$work/want.box" && fail "two prompts, one answer"

prompt() { refused "$1" 400 "$2" -H "$json" -d "$3" "${url}api/image/$id/masks"; }
prompt "no prompt" "neither a point nor a box" '{}'
prompt "not JSON" "1:1" 'points'
prompt "NaN" "NaN" '{"points": [[NaN, 1, 1]]}'
prompt "infinite" "1e999" '{"points": [[1e999, 1, 1]]}'
prompt "outside" "points\[0\]\[0\].*128" '{"points": [[129, 1, 1]]}'
prompt "negative" "points\[0\]\[1\]" '{"points": [[1, -1, 1]]}'
prompt "label" "label|points\[0\]\[2\]" '{"points": [[1, 1, 2]]}'
prompt "two numbers" "a point is" '{"points": [[1, 1]]}'
prompt "text" "points" '{"points": "here"}'
prompt "empty box" "box.*empty" '{"box": [5, 5, 5, 9]}'
prompt "misspelt" "pionts.*unknown" '{"pionts": [[1, 1, 1]]}'
prompt "hq" "HQ-SAM" '{"points": [[1, 1, 1]], "hq_only": true}'
prompt "too many points" "256 points" "{\"points\": [$(seq -s, 257 | sed 's/[0-9]\+/[1,1,1]/g')]}"
prompt "deep" "level|deep" "$(printf '[%.0s' $(seq 100))"
head -c 70000 /dev/zero >"$work/much"
refused "large prompt" 413 "65536" -H "$json" --data-binary @"$work/much" "${url}api/image/$id/masks"
refused "unknown id" 404 "no such image" -H "$json" -d "$one" "${url}api/image/0123456789abcdef0123456789abcdef/masks"
refused "no id" 404 "nothing" -H "$json" -d "$one" "${url}api/image/x/masks"
refused "everything's side" 400 "side" -H "$json" -d '{"side": 65}' "${url}api/image/$id/everything"

# ---- everything ----
# everything ID SIDE: in a subshell, whose place curl takes
everything() { exec curl -sN --max-time 280 -H "$json" -d "{\"side\": $2, \"iou\": 0, \"stability\": 0}" "${url}api/image/$1/everything"; }
(everything "$id" 4) >"$work/got"
tail -1 "$work/got" | grep -qE '^\{"masks": \[.*\]\}$' || fail "everything: $(tail -c 300 "$work/got")"
grep -q '"share"' "$work/got" || fail "everything tells of no progress"
"$lethe" segment --checkpoint "$work/model" "${images[0]}" --everything --points-per-side 4 --iou-threshold 0 --stability-threshold 0 --out "$work/told" >/dev/null
tail -1 "$work/got" | counts >"$work/got.counts"
cat "$work/told/"*.json | counts | cmp -s - "$work/got.counts" || fail "everything: not the command line's masks"
rm -rf "$work/told"

# ---- two users at once, and connections that close ----
upload "${images[1]}"
second=$id
told "${images[1]}" --point 40,50 --multimask >"$work/want.second"
cmp -s "$work/want.one" "$work/want.second" && fail "two images, one answer"
everything "$first" 64 >"$work/long" &
long=$!
until grep -q '"share": 0\.0' "$work/long" 2>/dev/null || ! kill -0 $long 2>/dev/null; do sleep 0.05; done
user() { # user ID WANTED: asks again and again
    for _ in $(seq 10); do
        masks "$1" "$one" | counts | diff - "$2" >"$work/wrong.$1" || return
    done
}
user "$first" "$work/want.one" & a=$!
user "$second" "$work/want.second" & b=$!
curl -sN --max-time 120 -H "$octets" --data-binary @"${images[2]}" "${url}api/image" >"$work/third" & c=$!
wait $a $b
[ ! -s "$work/wrong.$first" ] && [ ! -s "$work/wrong.$second" ] || fail "two users at once: $(cut -c1-200 "$work"/wrong.*)"
grep -q masks "$work/long" && fail "prompts waited for the long work"
kill $long # its connection closes: the work is given up, and the third image's turn comes
wait $c
grep -q '{"ahead": 1}' "$work/third" || fail "the third image was not told to wait: $(cat "$work/third")"
grep -q '{"ready": true}' "$work/third" || fail "the third image is not embedded"

# one that closes in the middle of a body, one that says half a line and stays, one that is cancelled
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'POST /api/image HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nContent-Type: application/octet-stream\r\nContent-Length: 100000\r\n\r\nhalf' "$port" >&3
exec 3>&-
exec 4<>"/dev/tcp/127.0.0.1/$port"
printf 'GET / HT' >&4
for _ in 1 2 3; do timeout 0.2 curl -sN -H "$octets" --data-binary @"${images[3]}" "${url}api/image" >/dev/null; done
masks "$second" "$one" | counts | cmp -s - "$work/want.second" || fail "after closed connections: not the same masks"
exec 4>&-

# ---- removed, and too many ----
curl -s -X DELETE "${url}api/image/$second" | grep -qF '{}' || fail "delete"
refused "deleted" 404 "no such image" -H "$json" -d "$one" "${url}api/image/$second/masks"
for _ in $(seq 32); do upload "${images[2]}"; done
refused "the least recently used" 404 "made room" -H "$json" -d "$one" "${url}api/image/$first/masks"
masks "$id" "$one" | counts | grep -q . || fail "the newest image has no answer"

# ---- the end ----
everything "$id" 64 >"$work/end" &
long=$!
until grep -q '"share": 0\.0' "$work/end" 2>/dev/null || ! kill -0 $long 2>/dev/null; do sleep 0.05; done
stop || fail "Ctrl-C while it works"
wait $long
tail -1 "$work/end" | grep -qE 'is ending' || fail "the user was not told of the end: $(tail -c 200 "$work/end")"

one_line() { # one_line NAME PATTERN OPTION...
    local name=$1 pattern=$2 out
    shift 2
    out=$(timeout 60 "$lethe" serve "$@" 2>&1) && fail "$name: status 0"
    [ "$(wc -l <<<"$out")" = 1 ] && grep -qE "$pattern" <<<"$out" || fail "$name: $out"
}
start
one_line "port in use" "cannot listen.*--port" --checkpoint "$work/model" --port "$(tr -dc 0-9 <<<"${url##*:}")"
stop || fail "Ctrl-C while it is idle"
one_line "no checkpoint" "checkpoint" --port 0
one_line "no such checkpoint" "nowhere" --checkpoint "$work/nowhere"
one_line "port" "65535" --checkpoint "$work/model" --port 70000
one_line "host" "host" --checkpoint "$work/model" --port 0 --host no.such.host.invalid
one_line "dtype" "bf16" --checkpoint "$work/model" --dtype f16
[ $failed = 0 ]
