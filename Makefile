# Lethe. `make help` lists the targets.
ARCH    ?= native#   the processor to build for: native, x86-64-v3, x86-64-v4
BUILD   ?= build#    folder for objects
CUDA    ?=#          1: with CUDA, cuDNN, cuBLASLt and NCCL
GPUS    ?= 80 90#    compute capabilities to build for, times ten; newer ones compile the last at first use
SAN     ?=#          address,undefined: a sanitizer build
SECONDS ?= 10#       how long `make fuzz` runs each target
DATA    ?=#          make demo: your own folder of images, a subfolder a person
CFLAGS  ?= -O3 -g
# ------------------------------------------------------------------- nothing to change below this line ---
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc) --no-print-directory
endif
ifeq ($(origin CC),default)
CC := gcc
endif
ROOMS   := core core/op data mim detect segment unlearn cli
PKGS    := libcjson libjpeg libpng libcrypto libmicrohttpd zlib lapacke ompi-c
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
FLAGS   := -std=gnu17 -march=$(ARCH) -fopenmp -fno-math-errno -fno-trapping-math -ffp-contract=fast $(WARN) -I. \
           $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS    := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -ldnnl -lsvm -lm -lpthread
ifneq ($(SAN),)
FLAGS   += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
endif

SRC     := $(foreach r,$(ROOMS),$(wildcard $(r)/*.c))
LIBOBJ  := $(patsubst %.c,$(BUILD)/%.o,$(filter-out cli/main.c,$(SRC)))
# The engine once more with real = double, reference kernels only: for the gradient check.
F64OBJ  := $(patsubst %.c,$(BUILD)/f64/%.o,$(wildcard core/*.c core/op/*.c))
TESTS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/test_*.c)) $(BUILD)/tests/gradcheck
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/tests/%,$(wildcard tests/fuzz/fuzz_*.c))
TIDY    := $(patsubst %.c,$(BUILD)/tidy/%.ok,$(SRC) $(wildcard tests/*.c tests/fuzz/*.c tests/faults/*.c))

ifneq ($(CUDA),)
CUDA_HOME ?= /usr/local/cuda
LIBOBJ  += $(patsubst %.cu,$(BUILD)/%.cu.o,$(foreach r,$(ROOMS),$(wildcard $(r)/*.cu)))
FLAGS   += -DLETHE_CUDA -I$(CUDA_HOME)/include
LIBS    += -L$(CUDA_HOME)/lib64 -Wl,-rpath,$(CUDA_HOME)/lib64 -lcudart -lcublasLt -lcudnn -lnccl -lstdc++
CODE    := $(foreach g,$(GPUS),-gencode arch=compute_$(g),code=sm_$(g)) \
           -gencode arch=compute_$(lastword $(GPUS)),code=compute_$(lastword $(GPUS))
NVCC    := $(CUDA_HOME)/bin/nvcc -std=c++17 -O3 -I. $(CODE) -Werror all-warnings -Xcompiler -Wall,-Wextra,-Werror,-march=$(ARCH)
endif

.PHONY: all deps clean help FORCE programs
.DELETE_ON_ERROR:
.SECONDARY:

all: lethe ## build ./lethe (the default)

# These may be the first command on a bare machine. They install what they need, then read this file anew:
# until then pkg-config has nothing to say about libraries.
FIRST   := test lint asan fake fake-asan fuzz demo demo-segment bench-data docs kernels
.PHONY: $(FIRST) $(FIRST:%=%-ready)
$(FIRST):
	@tests/deps.sh $@
	@$(MAKE) $@-ready

deps: ## install what is missing (Debian packages; needs root or sudo)
	@tests/deps.sh all

test-ready: lethe programs fuzzers ## every test, the gradient check, and each fuzz target for seconds
	@tests/run.sh $(BUILD) $(TESTS) $(sort $(wildcard tests/test_*.sh)) $(FUZZERS)

lint-ready: $(TIDY) ## layout, clang-tidy, includes that only point down, op list
	@tests/lint.sh

asan-ready: ## the tests under AddressSanitizer and UBSan, without the largest model
	@$(MAKE) BUILD=$(BUILD)/asan SAN=address,undefined CFLAGS='-O1 -g' $(BUILD)/asan/lethe programs
	@LETHE_QUICK=1 tests/run.sh $(BUILD)/asan $(TESTS:$(BUILD)/%=$(BUILD)/asan/%) $(sort $(wildcard tests/test_*.sh))

fuzz-ready: fuzzers ## each fuzz target for SECONDS=n seconds
	@FUZZ="-max_total_time=$(SECONDS)" LIMIT=$$(($(SECONDS) + 120)) tests/run.sh $(BUILD) $(FUZZERS)

demo-ready: lethe ## draw faces, pretrain, fine-tune, write demo/report.html; DATA=folder: your own images
	@LETHE=$(BUILD)/lethe DATA='$(DATA)' cli/demo.sh

demo-segment-ready: lethe ## draw scenes, train a small SAM, cut everything out, write demo/segment.html
	@LETHE=$(BUILD)/lethe cli/demo_segment.sh

bench-data-ready: $(BUILD)/tests/bench_data ## images decoded and augmented a second, against Pillow on the same core
	@tests/bench_data.sh $<

include tests/device/fake.mk

kernels-ready: $(BUILD)/tests/kernels ## the table of ops and kernels, with every hole
	@$<

docs-ready: lethe ## write docs/recipe.md anew
	@$(BUILD)/lethe help recipe --markdown > $(BUILD)/recipe.md && mv $(BUILD)/recipe.md docs/recipe.md

clean: ## remove the build
	rm -rf build lethe

help: ## this list
	@echo "make TARGET [SETTING=value]..., settings with their defaults:"
	@sed -nE 's/^([A-Z]+) *\?= *([^#]*)#? */  \1=\2\t/p; /^# ---/q' Makefile | expand -t 20
	@echo "targets:"
	@grep -hE '^[a-z-]+:.*##' Makefile tests/device/fake.mk | sed -E 's/^([a-z-]+):.*## /  \1\t/; s/-ready\t/\t/' | expand -t 20

# ---- rules ----

lethe: $(BUILD)/lethe
	@cp -f $< $@

$(BUILD)/lethe: $(BUILD)/cli/main.o $(BUILD)/liblethe.a
	@echo "  LD    $@"
	@$(CC) $(FLAGS) $(CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/liblethe.a: $(LIBOBJ)
$(BUILD)/f64/liblethe.a: $(F64OBJ)
%/liblethe.a:
	@rm -f $@ && ar rcs $@ $^

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D) && echo "  CC    $<"
	@$(CC) $(FLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The page is taken in as it is.
$(BUILD)/cli/serve_page.o $(FAKE)/cli/serve_page.o: $(wildcard cli/page/*)

$(BUILD)/f64/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D) && echo "  CC64  $<"
	@$(CC) $(FLAGS) $(CFLAGS) -DLETHE_DOUBLE -MMD -MP -c -o $@ $<

$(BUILD)/%.cu.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D) && echo "  NVCC  $<"
	@$(NVCC) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

# A changed setting rebuilds what it touches.
STAMP   := $(CC) $(FLAGS) $(CFLAGS) $(NVCC)
$(BUILD)/flags: FORCE
	@command -v $(CC) >/dev/null && pkg-config --exists $(PKGS) || \
	    { echo "a compiler or a library is missing; make deps installs them" >&2; exit 1; }
	@mkdir -p $(BUILD) && echo '$(STAMP)' | cmp -s - $@ || echo '$(STAMP)' > $@

programs: $(TESTS) $(BUILD)/tests/faults.so

# Preloaded, it makes the n-th system call of a kind fail.
$(BUILD)/tests/faults.so: tests/faults/faults.c tests/faults/reduce.c tests/faults/faults.h $(BUILD)/flags
	@mkdir -p $(@D) && echo "  LD    $@"
	@$(CC) $(filter-out -fsanitize=%,$(FLAGS)) $(CFLAGS) -shared -fPIC -o $@ $(filter %.c,$^)

$(BUILD)/tests/gradcheck: tests/gradcheck.c $(BUILD)/f64/liblethe.a
	@mkdir -p $(@D) && echo "  LD    $@"
	@$(CC) $(FLAGS) $(CFLAGS) -DLETHE_DOUBLE -MMD -MP -o $@ $< $(BUILD)/f64/liblethe.a $(LIBS)

$(BUILD)/tests/%: tests/%.c $(BUILD)/liblethe.a
	@mkdir -p $(@D) && echo "  LD    $@"
	@$(CC) $(FLAGS) $(CFLAGS) -MMD -MP -o $@ $< $(BUILD)/liblethe.a $(LIBS) -lcmocka

# Fuzz targets reach files from outside through core, data and unlearn alone; libFuzzer comes with clang, which at -O1
# would complain of each simd loop that it leaves scalar.
.PHONY: fuzzers fuzzers-ready
fuzzers:
	@$(MAKE) BUILD=$(BUILD)/fuzz CC=clang SAN=fuzzer-no-link,address,undefined CFLAGS='-O1 -g -Wno-pass-failed' \
	    ROOMS='core data unlearn' fuzzers-ready
fuzzers-ready: $(patsubst tests/fuzz/%.c,$(BUILD)/tests/%,$(wildcard tests/fuzz/fuzz_*.c))

$(BUILD)/tests/fuzz_%: tests/fuzz/fuzz_%.c $(BUILD)/liblethe.a
	@echo "  LD    $@" && mkdir -p $(@D)
	@$(CC) $(FLAGS) $(CFLAGS) -fsanitize=fuzzer -MMD -MP -o $@ $< $(BUILD)/liblethe.a $(LIBS)

$(BUILD)/tidy/%.ok: FACTS := -D_GNU_SOURCE= -include tests/lint_facts.h
$(foreach f,comm error file json mem,$(BUILD)/tidy/core/$(f).ok): FACTS :=
$(BUILD)/tidy/%.ok: %.c .clang-tidy $(BUILD)/flags
	@mkdir -p $(@D) && echo "  TIDY  $<"
	@clang-tidy --quiet $< -- $(FLAGS) $(FACTS) 2>/dev/null
	@touch $@

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
