# What has to be compiled: the native addon, the program that enters a namespace, and the eBPF objects. Everything else is
# TypeScript that Node runs as it is. Results go to .weft/, which git ignores; `make clean` removes only what is made here.
#
#   daemon/native/src/*.cc        -> .weft/native/weft.node     loaded by daemon/native, Node-API only, links libbpf and libpcap
#   daemon/native/src/enter/*.cc  -> .weft/native/weft-enter    a small program of its own, no Node in it
#   daemon/native/src/hold/hold.c -> .weft/native/weft-hold     static, the only file of the image that holds containers' namespaces
#   bpf/*.bpf.c                   -> .weft/bpf/*.bpf.o          loaded by libbpf; bpf/lib holds shared headers
#
# Each result is written beside its place and then renamed, so that a running daemon, or a build that is killed, never
# leaves half a file under the final name.

OUT := .weft
ARCH := $(shell uname -m)

# Node-API is stable across versions, so the headers of the npm package serve whichever Node 24 runs the addon.
NODE_INCLUDE ?= $(firstword $(wildcard node_modules/node-linux-*/include/node) $(wildcard /usr/include/node))

CXX := g++
CLANG := clang
LLVM_STRIP := llvm-strip
CXXFLAGS := -O3 -g1 -std=c++20 -Wall -Wextra -MMD -MP
ADDON_FLAGS := $(CXXFLAGS) -fPIC -fvisibility=hidden -isystem $(NODE_INCLUDE)
BPF_FLAGS := -O2 -g -target bpf -I bpf -isystem /usr/include/$(ARCH)-linux-gnu -Wall -Werror -MMD -MP

ADDON_OBJECTS := $(patsubst daemon/native/src/%.cc,$(OUT)/build/addon/%.o,$(wildcard daemon/native/src/*.cc))
ENTER_OBJECTS := $(patsubst daemon/native/src/enter/%.cc,$(OUT)/build/enter/%.o,$(wildcard daemon/native/src/enter/*.cc))
BPF_OBJECTS := $(patsubst bpf/%.bpf.c,$(OUT)/bpf/%.bpf.o,$(wildcard bpf/*.bpf.c))

# A result is made only when it has sources, so that a tree without them builds too.
ALL := $(if $(ADDON_OBJECTS),$(OUT)/native/weft.node) $(if $(ENTER_OBJECTS),$(OUT)/native/weft-enter) $(OUT)/native/weft-hold $(BPF_OBJECTS)

.PHONY: all clean
.DELETE_ON_ERROR:
all: $(ALL)

clean:
	rm -rf $(OUT)/build $(OUT)/native $(OUT)/bpf

$(OUT)/build/addon/%.o: daemon/native/src/%.cc Makefile
	@mkdir -p $(@D)
	$(CXX) $(ADDON_FLAGS) -c $< -o $@

$(OUT)/build/enter/%.o: daemon/native/src/enter/%.cc Makefile
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) -c $< -o $@

# The folders are prerequisites because their time changes when a source is added or removed.
$(OUT)/native/weft.node: $(ADDON_OBJECTS) daemon/native/src
	@mkdir -p $(@D)
	$(CXX) -shared -o $@.new $(filter %.o,$^) -lbpf -lpcap
	@mv -f $@.new $@

$(OUT)/native/weft-enter: $(ENTER_OBJECTS) daemon/native/src/enter
	@mkdir -p $(@D)
	$(CXX) -o $@.new $(filter %.o,$^)
	@mv -f $@.new $@

$(OUT)/native/weft-hold: daemon/native/src/hold/hold.c Makefile
	@mkdir -p $(@D)
	$(CC) -Os -Wall -Wextra -static -s -o $@.new $<
	@mv -f $@.new $@

$(OUT)/bpf/%.bpf.o: bpf/%.bpf.c Makefile
	@mkdir -p $(@D) $(OUT)/build/bpf
	$(CLANG) $(BPF_FLAGS) -MF $(OUT)/build/bpf/$*.d -MT $@ -c $< -o $@.new
	@$(LLVM_STRIP) -g $@.new
	@mv -f $@.new $@

-include $(wildcard $(OUT)/build/addon/*.d) $(wildcard $(OUT)/build/enter/*.d) $(wildcard $(OUT)/build/bpf/*.d)
