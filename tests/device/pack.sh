#!/bin/bash
# On the machine that builds: puts into build/device all that tests/device/run.sh needs on a machine with a GPU and
# without a compiler: the programs, stripped, with the shared libraries they need, as one archive; and what it was
# made from. Not in it: glibc, the driver, and NVIDIA's large libraries, which that machine has (README.md beside this).
#     tests/device/pack.sh
# ARCH: the processor to build for (x86-64-v3). GPUS: compute capabilities (90: H100, H200). BUILD: folder for objects.
# LIMIT: most MiB that build/device may take (48: with the tree, less than the 64 that travel).
set -eu
cd "$(dirname "$0")/../.."
arch=${ARCH:-x86-64-v3}
gpus=${GPUS:-90}
build=${BUILD:-build/cuda}
limit=${LIMIT:-48}
out=build/device
tests="test_kernels test_golden_mae test_golden_vit test_golden_ops test_golden_sam test_optim_cuda"
gradcheck=$build/cpu/tests/gradcheck # double, on the processor alone: built without CUDA

# The Makefile's settings and rules, and one program more: its own rule for it is the fake GPU's.
build_all() {
    local goals="$build/lethe" t
    for t in $tests; do goals="$goals $build/tests/$t"; done
    make "BUILD=$build/cpu" "ARCH=$arch" "$gradcheck"
    make -f - CUDA=1 "BUILD=$build" "ARCH=$arch" "GPUS=$gpus" $goals <<'RULES'
include Makefile
$(BUILD)/tests/test_optim_cuda: $(BUILD)/tests/device/test_optim_cuda.cu.o $(BUILD)/liblethe.a ; @echo "  LD    $@" && \
    mkdir -p $(@D) && $(CC) $(FLAGS) $(CFLAGS) -o $@ $^ $(LIBS)
RULES
}

# Where the loader finds what the programs need, a path a line.
libraries() { ldd "$out"/stage/lethe "$out"/stage/test_* "$out"/stage/gradcheck | awk '/=> \//{ print $3 }' | sort -u; }

gather() {
    local path name
    rm -rf "$out"
    mkdir -p "$out/stage/lib/common"
    for path in "$build/lethe" "$gradcheck" $(printf "$build/tests/%s " $tests); do
        strip -o "$out/stage/$(basename "$path")" "$path"
    done
    libraries >"$out/all"
    if ldd "$out/stage/lethe" | grep -q 'not found'; then
        ldd "$out/stage/lethe" | grep 'not found' >&2
        echo "pack: libraries are missing on this machine" >&2
        exit 1
    fi
    while read -r path; do
        name=$(basename "$path")
        case $name in
        # glibc's own: they belong to the loader of the machine
        ld-linux* | libc.so* | libm.so* | libmvec.so* | libpthread.so* | libdl.so* | librt.so* | libutil.so* | \
            libresolv.so* | libnsl.so* | libanl.so*) ;;
        libcuda.so* | libcublas* | libcudnn* | libnccl* | libnvrtc* | libnvJitLink*) echo "$name" >>"$out/theirs" ;;
        # a machine with its own has newer ones, as a rule: taken only where they are missing
        libstdc++.so* | libgcc_s.so* | libgomp.so*) cp -L "$path" "$out/stage/lib/common/" ;;
        *) cp -L "$path" "$out/stage/lib/" ;;
        esac
    done <"$out/all"
}

tell() {
    local glibc nvcc="${CUDA_HOME:-/usr/local/cuda}/bin/nvcc"
    glibc=$(objdump -T "$out"/stage/lethe "$out"/stage/lib/*.so* 2>/dev/null | grep -o 'GLIBC_2\.[0-9]*' |
        sort -Vu | tail -1)
    {
        echo "made $(date -u +%Y-%m-%d) from $(git rev-parse --short HEAD 2>/dev/null || echo 'no commit')$(changed)"
        echo "for $arch, compute capability $gpus, CUDA $("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')"
        echo "needs there: $glibc, libcuda.so.1 and $(tr '\n' ' ' <"$out/theirs")"
    } | tee "$out/made.txt"
}

changed() { [ -z "$(git status --porcelain --untracked-files=no 2>/dev/null)" ] || echo ' with changes'; }

build_all
gather
tell
# Each program holds the same kernels: xz sees that, gzip does not.
tar -C "$out/stage" -cf - . | xz -9 >"$out/packed.tar.xz"
unpacked=$(du -sm "$out/stage" | cut -f1)
rm -rf "$out/stage" "$out/all" "$out/theirs"
size=$(($(cat "$out"/* | wc -c) / 1048576 + 1))
echo "$out: $size MiB ($unpacked MiB unpacked)"
[ "$size" -le "$limit" ] || { echo "pack: more than $limit MiB" >&2; exit 1; }
