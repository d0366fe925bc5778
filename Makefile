# Lethe. `make help` lists the targets.
ARCH    ?= native#   the processor to build for: native, x86-64-v3, x86-64-v4
BUILD   ?= build#    folder for objects
CUDA    ?=#          1: with CUDA, cuDNN, cuBLASLt and NCCL
SAN     ?=#          address,undefined: a sanitizer build
SECONDS ?= 10#       how long each fuzz target runs
DATA    ?=#          make demo: your own folder of images, a subfolder a person
# ------------------------------------------------------------------- nothing to change below this line ---
ifeq ($(origin CC),default)
CC := gcc
endif
ROOMS   := core core/op data mim cli
PKGS    := libcjson libjpeg libpng libcrypto zlib
CFLAGS  ?= -O3 -g
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
FLAGS   := -std=gnu17 -march=$(ARCH) -fopenmp -fno-math-errno -fno-trapping-math -ffp-contract=fast $(WARN) -I. \
           $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS    := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -ldnnl -lm -lpthread
ifneq ($(SAN),)
FLAGS   += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
endif

SRC     := $(foreach r,$(ROOMS),$(wildcard $(r)/*.c))
OBJ     := $(SRC:%.c=$(BUILD)/%.o)
LIBOBJ  := $(filter-out $(BUILD)/cli/main.o,$(OBJ))
# The engine once more with real = double, reference kernels only: for the gradient check.
F64SRC  := $(wildcard core/*.c core/op/*.c mim/*.c)
F64OBJ  := $(F64SRC:%.c=$(BUILD)/f64/%.o)
TESTS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/test_*.c))

ifneq ($(CUDA),)
CUDA_HOME ?= /usr/local/cuda
NVCC    := $(CUDA_HOME)/bin/nvcc
CUSRC   := $(foreach r,$(ROOMS),$(wildcard $(r)/*.cu))
LIBOBJ  += $(CUSRC:%.cu=$(BUILD)/%.cu.o)
OBJ     += $(CUSRC:%.cu=$(BUILD)/%.cu.o)
FLAGS   += -DLETHE_CUDA -I$(CUDA_HOME)/include
LIBS    += -L$(CUDA_HOME)/lib64 -Wl,-rpath,$(CUDA_HOME)/lib64 -lcudart -lcublasLt -lcudnn -lnccl -lstdc++
endif

.PHONY: all deps test lint asan fuzz demo docs clean help bench-data kernels
.DELETE_ON_ERROR:

all: lethe ## build ./lethe (the default)

lethe: $(BUILD)/lethe
	@cp -f $< $@

$(BUILD)/lethe: $(BUILD)/cli/main.o $(BUILD)/liblethe.a
	@echo "  LD    $@"
	@$(CC) $(FLAGS) $(CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/liblethe.a: $(LIBOBJ)
	@rm -f $@ && ar rcs $@ $^

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D) && echo "  CC    $<"
	@$(CC) $(FLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/f64/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@$(CC) $(FLAGS) $(CFLAGS) -DLETHE_DOUBLE -MMD -MP -c -o $@ $<

$(BUILD)/%.cu.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D) && echo "  NVCC  $<"
	@$(NVCC) -O3 -std=c++17 -arch=sm_80 -I. -Xcompiler -Wall -c -o $@ $<

# A changed setting rebuilds what it touches.
$(BUILD)/flags: FORCE
	@mkdir -p $(BUILD) && echo '$(CC) $(FLAGS) $(CFLAGS)' | cmp -s - $@ || echo '$(CC) $(FLAGS) $(CFLAGS)' > $@
FORCE:

$(BUILD)/tests/gradcheck: tests/gradcheck.c $(F64OBJ)
	@mkdir -p $(@D)
	@$(CC) $(FLAGS) $(CFLAGS) -DLETHE_DOUBLE -o $@ $^ $(LIBS)

$(BUILD)/tests/%: tests/%.c $(BUILD)/liblethe.a
	@mkdir -p $(@D)
	@$(CC) $(FLAGS) $(CFLAGS) $(shell pkg-config --cflags cmocka) -o $@ $< $(BUILD)/liblethe.a $(LIBS) $(shell pkg-config --libs cmocka)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

deps: ## install what is missing (Debian packages; needs root or sudo)
	@tests/deps.sh

help: ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

clean: ## remove the build
	rm -rf build lethe
