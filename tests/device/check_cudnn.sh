#!/bin/bash
# Builds check_cudnn and runs it for H100 and A100, on a machine with CUDA's libraries and no GPU. cuDNN loads the
# driver by name: it gets one whose functions do nothing, made from the names in CUDA's own stub of it. Where cuDNN
# loads the kernels it has compiled, that driver says yes.
#     tests/device/check_cudnn.sh [FOLDER FOR OBJECTS]
set -eu
cd "$(dirname "$0")/../.."
home=${CUDA_HOME:-/usr/local/cuda}
out=${1:-build/check_cudnn}
stub=$(ls "$home"/lib64/stubs/libcuda.so "$home"/lib/stubs/libcuda.so 2>/dev/null | head -1)
mkdir -p "$out/driver"
nm -D --defined-only "$stub" | awk '
    $2 == "T" {
        gives = $3 ~ /^cuLibrary(LoadData|GetKernel|GetModule|EnumerateKernels)$/
        gives = gives || $3 ~ /^cuModule(LoadData|LoadDataEx|LoadFatBinary|GetFunction)$/
        gives = gives || $3 == "cuKernelGetFunction"
        fine = $3 ~ /^cu(Library|Kernel|Func|Module)/
        if (gives) printf "int %s(void **to) { static char it[64]; *to = it; return 0; }\n", $3
        else printf "int %s(void) { return %d; }\n", $3, fine ? 0 : 34
    }' > "$out/driver.c"
gcc -shared -fPIC -w -o "$out/driver/libcuda.so.1" "$out/driver.c"
# What the engine would give, as far as plans alone want it.
cat > "$out/rest.cu" << 'END'
#include "core/cuda.h"
#include "core/op.h"
#include <stdio.h>
#include <stdlib.h>
Cuda cuda;
extern "C" void check_exact(bool yes) { cuda.exact = yes; }
extern "C" void *op_scratch(OpCall *, size_t) { abort(); }
extern "C" void op_scratch_free(OpCall *, void *) {}
extern "C" void *mem_zero(size_t n, size_t size) { return calloc(n, size); }
extern "C" const char *dtype_name(DType d) { return d == DT_BF16 ? "bf16" : "f32"; }
extern "C" void give_up(const char *format, ...) { fprintf(stderr, "%s\n", format); exit(1); }
extern "C" void die(const char *format, ...) { fprintf(stderr, "%s\n", format); abort(); }
END
objects=()
for f in core/cudnn_plan core/cuda_attention core/cuda_conv "$out/rest"; do
    objects+=("$out/$(basename "$f").o")
    "$home/bin/nvcc" -std=c++17 -O1 -I. -DLETHE_CUDA -gencode arch=compute_80,code=sm_80 -c -o "${objects[-1]}" "$f.cu"
done
gcc -std=gnu17 -Wall -Wextra -I. -c -o "$out/check_cudnn.o" tests/device/check_cudnn.c
g++ -o "$out/check_cudnn" "$out/check_cudnn.o" "${objects[@]}" -L"$home/lib64" -L"$home/lib" \
    -Wl,-rpath,"$home/lib64:$home/lib" -lcudnn -lcudart
for gpu in H100 A100; do LD_LIBRARY_PATH="$out/driver" "$out/check_cudnn" "$gpu"; done
