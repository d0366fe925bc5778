# The GPU's code without a GPU: all of Lethe with LETHE_CUDA, its .cu files compiled as C++ against a CUDA runtime that
# runs on the processor (tests/device/fake). Of the .cu files, those that need NVIDIA's libraries are left out; plain
# loops there stand for them. Included by the Makefile.
FAKE    := $(BUILD)/fake
FAKECU  := $(shell grep -LiE '<(cublas|cudnn|nccl)|cudnn_plan.h' $(wildcard core/*.cu core/op/*.cu))
FAKEOBJ := $(patsubst %.c,$(FAKE)/%.o,$(filter-out cli/main.c,$(SRC))) $(FAKECU:%.cu=$(FAKE)/%.cu.o) \
           $(patsubst %.cpp,$(FAKE)/%.o,$(wildcard tests/device/fake/*.cpp))
FAKECC  := $(CC) $(filter-out -I$(CUDA_HOME)/include,$(FLAGS)) $(CFLAGS) -DLETHE_CUDA
FAKEXX  := g++ -std=c++17 -O2 -g -march=$(ARCH) -fno-strict-aliasing -Wall -Wextra -Werror -Wno-unknown-pragmas -DLETHE_CUDA \
           -Itests/device/fake -I. $(filter -I% -fsanitize=% -fno-omit-frame-pointer -fno-sanitize-recover=all,$(FLAGS))
comma   := ,
# Tensors stand apart and are poisoned when they are freed: a kernel that leaves its tensor is found.
FAKELD  := $(if $(findstring address,$(SAN)),-Wl$(comma)--wrap=heap_get$(comma)--wrap=heap_drop$(comma)--wrap=heap_free)
FAKETESTS := $(addprefix $(FAKE)/tests/,test_fake test_optim_cuda test_kernels test_golden_ops test_golden_mae test_golden_vit test_golden_sam)

fake-ready: $(FAKETESTS) $(FAKE)/lethe ## the GPU's code on a fake GPU: kernels, optimizer, whole runs
	@LETHE_QUICK=1 LETHE_TEST_BACKEND=cuda tests/run.sh $(BUILD) $(FAKETESTS) tests/device/test_fake_runs.sh

fake-asan-ready: ## the kernels alone, under AddressSanitizer and UBSan
	@$(MAKE) BUILD=$(BUILD)/asan SAN=address,undefined CFLAGS='-O1 -g' fake-kernels
.PHONY: fake-kernels
fake-kernels: $(addprefix $(FAKE)/tests/,test_fake test_optim_cuda test_kernels test_golden_ops)
	@LIMIT=600 LETHE_TEST_BACKEND=cuda tests/run.sh $(BUILD) $^

$(FAKE)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D) && echo "  CC    $<"
	@$(FAKECC) -MMD -MP -c -o $@ $<

$(FAKE)/%.cu.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D) && echo "  FAKE  $<"
	@$(FAKEXX) -x c++ -MMD -MP -c -o $@ $<

$(FAKE)/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $(@D) && echo "  CXX   $<"
	@$(FAKEXX) -MMD -MP -c -o $@ $<

$(FAKE)/libfake.a: $(FAKEOBJ)
	@rm -f $@ && ar rcs $@ $^

$(FAKE)/lethe: $(FAKE)/cli/main.o $(FAKE)/libfake.a
	@echo "  LD    $@"
	@$(FAKECC) $(FAKELD) -o $@ $(filter %.o %.a,$^) $(LIBS) -lstdc++

$(FAKE)/tests/%: $(FAKE)/tests/device/%.cu.o $(FAKE)/libfake.a
	@mkdir -p $(@D) && echo "  LD    $@"
	@$(FAKECC) $(FAKELD) -o $@ $(filter %.o %.a,$^) $(LIBS) -lcmocka -lstdc++

$(FAKE)/tests/%: tests/%.c $(FAKE)/libfake.a
	@mkdir -p $(@D) && echo "  LD    $@"
	@$(FAKECC) $(FAKELD) -MMD -MP -o $@ $< $(FAKE)/libfake.a $(LIBS) -lcmocka -lstdc++
