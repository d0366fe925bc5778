#!/bin/sh
# Installs the Debian packages that Lethe needs for a make target, and only those that are missing: quick and
# silent when all is there. Usage: tests/deps.sh TARGET, or all.
set -eu
build="gcc libc6-dev pkg-config libdnnl-dev libcjson-dev libjpeg62-turbo-dev libpng-dev libssl-dev zlib1g-dev
    libmicrohttpd-dev liblapacke-dev libopenmpi-dev openmpi-bin libsvm-dev"
test="g++ libcmocka-dev iproute2 procps clang libclang-rt-14-dev libomp-14-dev dataset-fashion-mnist curl
    openssl python3"
lint="clang-format clang-tidy libomp-14-dev"

case ${1:-all} in
demo | demo-segment | docs | kernels) want=$build ;;
bench-data) want="$build python3 python3-pil" ;;
lint) want="$build $lint libcmocka-dev" ;;
test | asan | fuzz | fake | fake-asan) want="$build $test" ;;
*) want="$build $test $lint python3 python3-pil" ;;
esac

command -v dpkg-query >/dev/null || exit 0 # not Debian: the build says what it misses
have=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' $want 2>/dev/null | sed -n 's/ installed$//p')
missing=""
for p in $want; do
    case "
$have
" in *"
$p
"*) ;; *) missing="$missing $p" ;; esac
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "make deps: root is needed; run: apt-get install$missing" >&2; exit 1; }
    as_root=sudo
fi
echo "  APT  $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
if ! { $as_root apt-get update && $as_root apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "make deps: could not install$missing" >&2
    exit 1
fi
