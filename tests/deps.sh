#!/bin/sh
# Installs the Debian packages Lethe builds, tests and runs with, and only those that are missing.
set -eu
packages="gcc make pkg-config libdnnl-dev libcjson-dev libjpeg62-turbo-dev libpng-dev libssl-dev zlib1g-dev \
libcmocka-dev clang clang-format clang-tidy cppcheck libclang-rt-14-dev libomp-14-dev dataset-fashion-mnist"

missing=""
for p in $packages; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null || { echo "make deps: this is not Debian; please install:$missing" >&2; exit 1; }
as_root=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "make deps: needs root to install:$missing" >&2; exit 1; }
    as_root=sudo
fi
echo "installing$missing"
$as_root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
