# make help lists the targets. On a Debian or Ubuntu machine with git, make and a C compiler nothing else has to be
# set up: what is missing is installed (root or passwordless sudo) or named in one command to run.

PROFILE ?=
SANITIZE ?=
# For a Jetson's board, or with its toolkit.
JETSON ?=
CC ?= gcc
MACHINE := $(shell $(CC) -dumpmachine)
ARCH := $(firstword $(subst -, ,$(MACHINE)))

# V=1 shows every command.
V ?=
Q := $(if $(V),,@)

BUILD := build$(if $(SANITIZE),/sanitize$(if $(filter thread,$(SANITIZE)),-threads))
PROGRAM := $(BUILD)/ffbench
ENGINE := $(BUILD)/libffbench.so
# Where headers and libraries are, when they are those of another machine.
SYSROOT ?=

OPTIMISE := $(if $(SANITIZE),-O1 -g -fno-omit-frame-pointer -fsanitize=$(SANITIZE) -fno-sanitize-recover=undefined,-O3 -g)
# A warning is an error, but for a board's compilers, which nobody here has tried.
WARNINGS_ARE_ERRORS := $(if $(JETSON),,-Werror)
# No fused multiply-add unless a kernel asks for it: the same bits on every instruction set.
CFLAGS := -std=c11 -D_GNU_SOURCE -I. -Wall -Wextra -Wpedantic $(WARNINGS_ARE_ERRORS) $(OPTIMISE) -ffp-contract=off -fno-math-errno \
          $(SYSROOT:%=--sysroot=%) -fno-trapping-math -fPIC -fopenmp -MMD -MP $(CFLAGS_EXTRA)
LDFLAGS := $(SYSROOT:%=--sysroot=%) $(if $(SANITIZE),-fsanitize=$(SANITIZE)) -fopenmp $(LDFLAGS_EXTRA)

comma := ,
# OpenBLAS: its OpenMP build, so that one thread pool serves all.
OPENBLAS_DIR := $(firstword $(wildcard $(SYSROOT)/usr/lib/$(ARCH)-linux-gnu/openblas-openmp))
OPENBLAS_INCLUDE := $(firstword $(wildcard $(SYSROOT)/usr/include/$(ARCH)-linux-gnu/openblas-openmp $(SYSROOT)/usr/include/openblas))
OPENBLAS_CFLAGS := $(if $(OPENBLAS_INCLUDE),-I$(OPENBLAS_INCLUDE))
OPENBLAS_LIBS := $(if $(OPENBLAS_DIR),-L$(OPENBLAS_DIR) -Wl$(comma)-rpath$(comma)$(patsubst $(SYSROOT)%,%,$(OPENBLAS_DIR))) -lopenblas

LUA_CFLAGS := -I$(SYSROOT)/usr/include/lua5.4
LUA_LIBS := -llua5.4

# CUDA: an object of its own, where the toolkit is found; CUDA=0 leaves it out. cuBLASLt is needed, cuDNN is used where
# it is there. An sm_87 of its own (make JETSON=1) keeps to what JetPack 5's CUDA 11.4 knows.
CUDA ?= 1
CUDA_HOME ?= $(patsubst %/bin/nvcc,%,$(firstword $(wildcard /usr/local/cuda/bin/nvcc) $(shell command -v nvcc)))
NVCC := $(if $(filter-out 0,$(CUDA)),$(if $(SANITIZE)$(SYSROOT),,$(if $(CUDA_HOME),$(wildcard $(CUDA_HOME)/bin/nvcc))))
CUDA_LIBRARIES := $(firstword $(wildcard $(CUDA_HOME)/lib64 $(CUDA_HOME)/lib))
CUDA_CUDNN := $(firstword $(wildcard $(CUDA_HOME)/include/cudnn.h /usr/include/cudnn.h /usr/include/$(ARCH)-linux-gnu/cudnn.h))
CUDA_ARCHITECTURES := $(if $(JETSON),87,80 86 89 90)
CUDA_NEWEST := $(lastword $(CUDA_ARCHITECTURES))
CUDA_CODE := $(foreach a,$(CUDA_ARCHITECTURES),-gencode=arch=compute_$(a),code=sm_$(a)) -gencode=arch=compute_$(CUDA_NEWEST),code=compute_$(CUDA_NEWEST)
# As for the processor: no fused multiply-add, so that a kernel gives the bits that backend.h says.
NVCCFLAGS := -std=c++17 -O3 -fmad=false -I. $(WARNINGS_ARE_ERRORS:%=%=all-warnings) -Xcompiler=-fPIC,-Wall,-Wextra,-ffp-contract=off $(CUDA_CODE)
CUDA_SOURCES := $(wildcard backends/cuda/*.c)
CUDA_KERNELS := $(wildcard backends/cuda/*.cu)
BACKEND_OBJECTS := $(if $(NVCC),$(BUILD)/backends/cuda.so)

ENGINE_SOURCES := $(wildcard base/*.c nn/*.c models/*.c datasets/*.c algorithms/backprop/*.c backends/*.c backends/reference/*.c backends/cpu/*.c)
HARNESS_SOURCES := $(filter-out harness/main.c,$(wildcard harness/*.c harness/meters/*.c))
TRAINERS := bp_fp32 bp_int8 bp_ui8 bp_gdai8 ff_int8
TRAINER_OBJECTS := $(TRAINERS:%=$(BUILD)/trainers/%.so)
TEST_SOURCES := $(wildcard tests/test_*.c)
TESTS := $(TEST_SOURCES:tests/%.c=$(BUILD)/tests/%)
TEST_PLUGINS := $(patsubst tests/plugins/%.c,$(BUILD)/tests/plugins/%.so,$(wildcard tests/plugins/*.c))
BENCHES := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))
objects = $(patsubst %.c,$(BUILD)/objects/%.o,$(1))

# Everything that compiles waits for this stamp.
READY := build/.dependencies

.PHONY: all test test-emulated test-aarch64 fuzz ci lint bench data help clean reproduce report reference check format install-dependencies search doctor
.DELETE_ON_ERROR:
all: $(PROGRAM) $(TRAINER_OBJECTS) $(BACKEND_OBJECTS)

$(READY): scripts/setup
	@mkdir -p build
	@scripts/setup && touch $@
# With nothing installed yet the lists above were made without the libraries: look again once they are there.
ifeq ($(wildcard $(READY)),)
ifneq ($(filter-out help clean data,$(or $(MAKECMDGOALS),all)),)
Makefile: $(READY)
	@touch Makefile
endif
endif

$(BUILD)/objects/%.o: %.c $(READY)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC   $@")
	$(Q)$(CC) $(CFLAGS) $(CFLAGS_$(subst /,_,$(<D))) $(CFLAGS_$(notdir $(<:.c=))) $(ISA_FLAGS) -c $< -o $@

ifeq ($(ARCH),x86_64)
$(BUILD)/objects/backends/cpu/%_avx512.o: ISA_FLAGS := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma -mavx2
$(BUILD)/objects/backends/cpu/%_avx2.o: ISA_FLAGS := -mavx2 -mfma
endif
ifeq ($(ARCH),aarch64)
$(BUILD)/objects/backends/cpu/%_neon.o: ISA_FLAGS := -march=armv8.2-a+dotprod
endif
# GCC's OpenMP is not instrumented, so ThreadSanitizer would take every loop for a race: kernels are left out of it.
CFLAGS_backends_cpu := $(OPENBLAS_CFLAGS) $(if $(filter thread,$(SANITIZE)),-fno-sanitize=thread)
CFLAGS_harness := $(LUA_CFLAGS) $(OPENBLAS_CFLAGS)
CFLAGS_tests := $(LUA_CFLAGS) -Itests -DFFB_BUILD_DIRECTORY='"$(BUILD)"'
CFLAGS_bench := $(OPENBLAS_CFLAGS)
CFLAGS_provenance := -include $(BUILD)/build_info.h

# Rewritten only when it changes, so that a build of the same commit compiles nothing.
.PHONY: always
$(BUILD)/build_info.h: always | $(READY)
	@mkdir -p $(@D)
	@scripts/build-info "$(CC)" "$(filter-out -MMD -MP -I.,$(CFLAGS))" > $@.new
	@cmp -s $@.new $@ || cp $@.new $@
	@rm -f $@.new
$(BUILD)/objects/harness/provenance.o: $(BUILD)/build_info.h

$(ENGINE): $(call objects,$(ENGINE_SOURCES)) scripts/libffbench.map
	$(if $(V),,@echo "  LINK $@")
	$(Q)$(CC) -shared $(LDFLAGS) -Wl,--version-script=scripts/libffbench.map -Wl,-soname,libffbench.so $(filter %.o,$^) -o $@ \
	  $(OPENBLAS_LIBS) -ljansson -lz -lm

$(BUILD)/libharness.a: $(call objects,$(HARNESS_SOURCES))
	@rm -f $@
	$(if $(V),,@echo "  AR   $@")
	$(Q)$(AR) rcs $@ $^

$(PROGRAM): $(call objects,harness/main.c) $(BUILD)/libharness.a $(ENGINE)
	$(if $(V),,@echo "  LINK $@")
	$(Q)$(CC) $(LDFLAGS) -Wl,-rpath,'$$ORIGIN' $(filter %.o %.a,$^) -o $@ -L$(BUILD) -lffbench $(LUA_LIBS) -ljansson -lz -lm -lpthread -ldl

$(BUILD)/trainers/%.so: $(ENGINE)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK $@")
	$(Q)$(CC) -shared $(LDFLAGS) -Wl,--version-script=scripts/trainer.map -Wl,-rpath,'$$ORIGIN/..' $(filter %.o,$^) -o $@ -L$(BUILD) -lffbench -lm
$(foreach name,$(TRAINERS),$(eval $(BUILD)/trainers/$(name).so: $(call objects,$(wildcard algorithms/$(name)/*.c)) scripts/trainer.map))

$(BUILD)/objects/%.cu.o: %.cu $(READY)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  NVCC $@")
	$(Q)$(NVCC) -ccbin $(CC) $(NVCCFLAGS) -MMD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@
CFLAGS_backends_cuda := -isystem $(CUDA_HOME)/include $(if $(CUDA_CUDNN),-DFFB_CUDA_CUDNN)
$(BUILD)/backends/cuda.so: $(call objects,$(CUDA_SOURCES)) $(CUDA_KERNELS:%=$(BUILD)/objects/%.o) $(ENGINE) scripts/backend.map
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK $@")
	$(Q)$(CC) -shared $(LDFLAGS) -Wl,-z,defs -Wl,--version-script=scripts/backend.map -Wl,-rpath,'$$ORIGIN/..' -Wl,-rpath,$(CUDA_LIBRARIES) \
	  $(filter %.o,$^) -o $@ -L$(BUILD) -lffbench -L$(CUDA_LIBRARIES) -lcublasLt $(if $(CUDA_CUDNN),-lcudnn) -lcudart_static -lstdc++ -lm -lrt -ldl -lpthread

$(BUILD)/tests/%: $(BUILD)/objects/tests/%.o $(BUILD)/libharness.a $(ENGINE)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK $@")
	$(Q)$(CC) $(LDFLAGS) -Wl,-rpath,'$$ORIGIN/..' $(filter %.o,$^) $(BUILD)/libharness.a -o $@ -L$(BUILD) -lffbench -lcmocka $(LUA_LIBS) -ljansson -lz -lm -lpthread -ldl
# What scripts/gpu-run packs.
$(BUILD)/tests/test_gpu_run: | $(BACKEND_OBJECTS) $(if $(BACKEND_OBJECTS),$(BUILD)/bench/steps $(BUILD)/bench/int8_products $(BUILD)/tests/test_device)
# The CUDA backend's kernels without a GPU: the conformance programs once more, over an emulator (tests/cuda_emulator).
EMULATED_HOST := backends/cuda/products.c backends/cuda/patches.c backends/cuda/convolutions.c backends/cuda/workspace.c
EMULATED := $(patsubst %,$(BUILD)/emulated/%.o,$(wildcard backends/cuda/*.cu tests/cuda_emulator/*.cpp tests/cuda_emulator/*.c) $(EMULATED_HOST))
# Whole training steps: every bit of a network's state is to be the reference's.
EMULATED_STEPS := $(patsubst %,$(BUILD)/tests/steps_%_cuda_emulated,trainers convolutional forward_forward)
# A C++ compiler is all that takes; without one they are left out, and make test says so. Fibers are nothing for sanitizers.
HAVE_CXX := $(if $(SANITIZE)$(SYSROOT),,$(if $(shell command -v $(CXX)),yes))
EMULATED_TESTS := $(if $(HAVE_CXX),$(patsubst %,$(BUILD)/tests/test_%_cuda_emulated,backends convolution normalisation))
EMULATOR_TEST := $(if $(HAVE_CXX),$(BUILD)/tests/test_cuda_emulator)
EMULATED_FLAGS := -DFFB_CUDA_EMULATED -DFFB_CUDA_PIECE_BYTES=16384 -DFFB_CUDA_S32_TERMS=160 -Itests/cuda_emulator -Wno-unknown-pragmas
$(BUILD)/emulated/%.c.o: %.c $(READY)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC   $@")
	$(Q)$(CC) $(CFLAGS) $(EMULATED_FLAGS) -c $< -o $@
$(BUILD)/emulated/%.o: % $(READY)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CXX  $@")
	$(Q)$(CXX) -std=c++17 $(filter-out -std=c11 -Wpedantic,$(CFLAGS)) $(EMULATED_FLAGS) -x c++ -c $< -o $@
$(EMULATED_TESTS): $(BUILD)/tests/test_%_cuda_emulated: $(BUILD)/objects/tests/test_%.o
$(EMULATED_STEPS): $(BUILD)/tests/steps_%_cuda_emulated: $(BUILD)/objects/tests/test_%.o $(BUILD)/objects/tests/only_backends.o
$(BUILD)/tests/test_cuda_emulator: $(BUILD)/emulated/tests/cuda_emulator/test_emulator.cu.o
$(EMULATED_TESTS) $(EMULATED_STEPS) $(BUILD)/tests/test_cuda_emulator: $(EMULATED) $(BUILD)/libharness.a $(ENGINE)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK $@")
	$(Q)$(CXX) $(LDFLAGS) -Wl,-rpath,'$$ORIGIN/..' $(filter %.o,$^) $(BUILD)/libharness.a -o $@ -L$(BUILD) -lffbench -lcmocka $(LUA_LIBS) -ljansson -lz -lm -lpthread -ldl
# The whole backend without a GPU, where the toolkit's headers are: kernels on the emulator, its host side over a made-up
# runtime, cuBLASLt and cuDNN (tests/cuda_hosted). Only what refused calls do is in make test; the rest is in make test-emulated.
HOSTED_PROGRAMS := faults steps
HOSTED := $(call objects,$(CUDA_SOURCES) $(filter-out $(HOSTED_PROGRAMS:%=tests/cuda_hosted/%.c) $(if $(CUDA_CUDNN),,%/fake_cudnn.c),$(wildcard tests/cuda_hosted/*.c))) \
  $(BUILD)/emulated/tests/cuda_hosted/graph.cpp.o $(patsubst %,$(BUILD)/emulated/%.o,$(CUDA_KERNELS) tests/cuda_emulator/emulator.cpp)
HOSTED_TESTS := $(if $(and $(NVCC),$(HAVE_CXX)),$(patsubst %,$(BUILD)/tests/test_%_cuda_hosted,backends convolution device $(HOSTED_PROGRAMS)))
CFLAGS_tests_cuda_hosted := -isystem $(CUDA_HOME)/include $(if $(CUDA_CUDNN),-DFFB_CUDA_CUDNN)
$(HOSTED_PROGRAMS:%=$(BUILD)/tests/test_%_cuda_hosted): $(BUILD)/tests/test_%_cuda_hosted: $(BUILD)/objects/tests/cuda_hosted/%.o
$(filter-out $(HOSTED_PROGRAMS:%=$(BUILD)/tests/test_%_cuda_hosted),$(HOSTED_TESTS)): $(BUILD)/tests/test_%_cuda_hosted: $(BUILD)/objects/tests/test_%.o
$(HOSTED_TESTS): $(HOSTED) $(BUILD)/libharness.a $(ENGINE)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK $@")
	$(Q)$(CXX) $(LDFLAGS) -Wl,-rpath,'$$ORIGIN/..' $(filter %.o,$^) $(BUILD)/libharness.a -o $@ -L$(BUILD) -lffbench -lcmocka $(LUA_LIBS) -ljansson -lz -lm -lpthread -ldl
$(BUILD)/tests/plugins/%.so: $(BUILD)/objects/tests/plugins/%.o $(ENGINE)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK $@")
	$(Q)$(CC) -shared $(LDFLAGS) $< -o $@ -L$(BUILD) -lffbench
$(BUILD)/bench/%: $(BUILD)/objects/bench/%.o $(BUILD)/libharness.a $(ENGINE)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK $@")
	$(Q)$(CC) $(LDFLAGS) -Wl,-rpath,'$$ORIGIN/..' $(filter %.o,$^) $(BUILD)/libharness.a -o $@ -L$(BUILD) -lffbench $(LUA_LIBS) -ljansson $(OPENBLAS_LIBS) -lz -lm -lpthread -ldl
.SECONDARY:

# Those in which the harness has threads: batches made ahead, meters, the watch over heat and clocks; replay and experiments.
THREAD_TESTS ?= test_loader test_meters test_second_reader test_baseline test_conditions test_run test_agreement test_program
ifeq ($(SANITIZE),thread)
test: all $(THREAD_TESTS:%=$(BUILD)/tests/%) $(TEST_PLUGINS)
	@OMP_THREAD_LIMIT=1 scripts/run-tests $(BUILD) $(THREAD_TESTS)
else
test: all $(TESTS) $(EMULATED_TESTS) $(EMULATOR_TEST) $(filter %/test_faults_cuda_hosted,$(HOSTED_TESTS)) $(TEST_PLUGINS)  ## build and run every test (about five minutes; FFBENCH_DATA=DIR adds the real-data cases)
	@scripts/run-tests $(BUILD)
endif

test-emulated: $(EMULATED_STEPS) $(HOSTED_TESTS)  ## the CUDA backend without a GPU: whole training steps bit by bit, its host side on a made-up runtime (ten minutes)
	@for program in $^; do OMP_WAIT_POLICY=passive $$program || exit 1; done

# Jetson's processor without a Jetson.
AARCH64 := build/aarch64
AARCH64_TESTS ?= $(TEST_SOURCES:tests/%.c=%)
ifeq ($(ARCH),aarch64)
test-aarch64: test
else
test-aarch64: all  ## build for aarch64 and test that under qemu-user; the same bits as here (AARCH64_TESTS names fewer tests)
	@scripts/aarch64-sysroot $(AARCH64)/sysroot
	@$(MAKE) --no-print-directory BUILD=$(AARCH64) SYSROOT=$(AARCH64)/sysroot CC=aarch64-linux-gnu-gcc AR=aarch64-linux-gnu-ar SANITIZE= \
	  all $(AARCH64_TESTS:%=$(AARCH64)/tests/%) $(TEST_PLUGINS:$(BUILD)/%=$(AARCH64)/%)
	@scripts/run-tests-aarch64 $(BUILD) $(AARCH64) $(AARCH64_TESTS)
endif

lint: $(READY)  ## clang-format, clang-tidy, luacheck, shellcheck
	@scripts/lint

# Of each target for so long; FUZZ names some of them: idx cifar gzip safetensors checkpoint record command_line experiment.
FUZZ_SECONDS ?= 60
FUZZ ?=
fuzz: $(READY)  ## hostile files, records, command lines and scripts (libFuzzer): FUZZ_SECONDS=600 FUZZ=safetensors
	@scripts/fuzz $(FUZZ_SECONDS) $(FUZZ)

ci:  ## all that CI does: installs its tools, tests, lint, sanitizers, a smoke check
	@bash .ci/run

bench: all $(BENCHES) $(BUILD)/tests/plugins/counting.so  ## products, convolutions and whole steps of every network, ratio to this machine's peaks
	@scripts/bench $(BUILD)

data:  ## download MNIST and CIFAR-10 into ./data, checked
	scripts/get-data

PROFILE_OPTION = $(if $(PROFILE),--profile $(PROFILE))
# The short ones first, one after the other also under make -j. A failure does not stop the others, Ctrl-C does.
EXPERIMENTS ?= table3 table2 table4 table1 fig3 table5 fig2 fig6
reproduce: all  ## every table and figure
	@scripts/ensure-data
	@worst=0; for name in $(EXPERIMENTS); do \
	  $(PROGRAM) run experiments/$$name.lua $(PROFILE_OPTION) $(RUN_OPTIONS); status=$$?; \
	  [ $$status != 130 ] || exit 130; [ $$status = 0 ] || worst=$$status; \
	done; exit $$worst
reproduce-%: all experiments/%.lua  ## one of them: reproduce-table5, reproduce-fig6
	@scripts/ensure-data
	@$(PROGRAM) run experiments/$*.lua $(PROFILE_OPTION) $(RUN_OPTIONS)
report: all  ## tables, figures and results/report.html, one page of it all, from the records at hand, without training
	@$(PROGRAM) report $(PROFILE_OPTION) $(RUN_OPTIONS)
reference: all  ## docs/results.md, and tables and figures of results/reference, from the records there, without training
	@scripts/ensure-data
	@$(PROGRAM) report --profile reference --results results/reference $(RUN_OPTIONS)
	@scripts/results-document
# Each in turn; a failure of one does not hide the next.
JUNIT ?=
check: all  ## train what has no record, then hold the records against the paper: fails with a gate; JUNIT=DIR adds XML for CI
	@scripts/ensure-data
	@status=0; for name in $(EXPERIMENTS); do \
	  $(PROGRAM) run experiments/$$name.lua $(PROFILE_OPTION) $(RUN_OPTIONS) || status=1; \
	  $(PROGRAM) check experiments/$$name.lua $(PROFILE_OPTION) $(RUN_OPTIONS) $(if $(JUNIT),--junit "$(JUNIT)/$$name.xml") || status=1; \
	done; exit $$status
search: all  ## search learning rates on the validation split, the same budget for every algorithm
	@$(PROGRAM) run experiments/search.lua $(PROFILE_OPTION) $(RUN_OPTIONS)
doctor: all  ## what this machine can and cannot measure
	@$(PROGRAM) doctor

format:  ## clang-format every C and CUDA file
	@git ls-files '*.c' '*.h' '*.cu' '*.cuh' '*.cpp' | xargs clang-format -i
install-dependencies: $(READY)  ## install what is missing, nothing else
clean:  ## remove what was built; results stay
	rm -rf build

help:  ## this list
	@sed -n 's/^\([a-z0-9%-]*\):.*##  *\(.*\)/\1\t\2/p' Makefile | awk -F '\t' '{printf "  make %-22s %s\n", $$1, $$2}'
	@echo "  PROFILE=smoke|quick|paper|reference  SANITIZE=address,undefined or thread  NO_INSTALL=1  RUN_OPTIONS='--only algorithm=bp_fp32'"

-include $(shell find $(BUILD)/objects $(BUILD)/emulated -name '*.d' 2>/dev/null)
