# libraft: build, try, test, install. `make help` lists the targets.

# Where `make install` puts things; DESTDIR is prepended for packagers.
PREFIX     ?= /usr/local
INCLUDEDIR ?= $(PREFIX)/include
LIBDIR     ?= $(PREFIX)/lib
DOCDIR     ?= $(PREFIX)/share/doc/libraft
DESTDIR    ?=

# The cargo profile of demo, bench and install. The tests use dev, which is quicker to build.
PROFILE ?= release
CARGO   ?= cargo
CC      ?= cc
CFLAGS  ?= -O2 -g

export CARGO_TARGET_DIR := $(CURDIR)/target
# Where .ci/setup puts tools that the system lacks.
export PATH := $(CURDIR)/target/tools/bin:$(PATH)
BUILD        = target/$(if $(filter dev test,$(PROFILE)),debug,$(PROFILE))
VERSION     := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
WARNINGS    := -std=c11 -Wall -Wextra -pedantic -Werror
# What libraft.a needs of the system.
SYSTEM_LIBS := -pthread -ldl -lm

.DEFAULT_GOAL := help
.PHONY: help setup build lib kv demo demo-mixed test test-rust test-c test-cpp test-node test-python test-java \
        test-install test-demo test-conformance test-sim test-deliberate-bugs conformance-accept exit-matrix lint bench \
        bench-languages sim sim-long soak soak-bindings power-cuts package-python package-node package-java header \
        abi-accept third-party install clean

help: ## list the targets
	@echo "libraft $(VERSION)"
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-27s %s\n", $$1, $$2}'
	@echo "Settings: PREFIX=$(PREFIX) DESTDIR= PROFILE=$(PROFILE) CC=$(CC) ROUNDS=$(ROUNDS)"

demo: kv ## four processes, a killed leader, a newcomer: see it work (needs cargo, gcc, make)
	@$(run-demo)

# Run by make itself, without a shell in between: so the demo sees it when make is killed.
define run-demo
$(CARGO) build --locked --quiet --profile $(PROFILE) -p libraft-demo
@$(BUILD)/demo --kv $(BUILD)/kv --source . --work target/demo
endef

test test-demo: PROFILE = dev
TESTS := rust sim deliberate-bugs c cpp python node java install demo conformance
test: $(TESTS:%=test-%) ## all tests

lint: setup ## formatting, clippy, the C boundary, names, licences
	@.ci/lint

setup: ## install what lint and test call
	@.ci/setup test

build:
	@.ci/setup build

lib: build ## libraft.so and libraft.a
	@echo "building libraft ($(PROFILE) profile)"
	@$(CARGO) build --locked --profile $(PROFILE) -p libraft-ffi

kv: lib ## the key-value store in C, examples/c/kv.c
	@$(CC) $(CFLAGS) $(WARNINGS) -Iinclude examples/c/kv.c -o $(BUILD)/kv $(BUILD)/libraft.a $(SYSTEM_LIBS)

test-rust: setup ## the tests of the core, the log and the C boundary in Rust
	$(CARGO) test --locked --no-fail-fast

test-c: setup ## the C interface: two compilers, AddressSanitizer, valgrind
	tests/c/run

test-cpp: setup ## the C++ headers: two compilers, without exceptions, under sanitizers
	bindings/cpp/run-tests

test-node: setup ## the Node.js binding and its package
	bindings/node/run-tests

test-install: setup ## what `make install` puts in place
	tests/install/run

test-demo: setup kv ## the demo
	@$(run-demo)

test-python: setup ## the Python binding and its wheel
	bindings/python/run-tests

test-java: setup ## the Java binding and its jar
	bindings/java/run-tests

# Such as BUGS="SkipTheSync ForgetTheVote"; all, if empty.
BUGS ?=
test-deliberate-bugs: setup ## break every rule of core/src/deliberate.rs, and see a test fail
	$(CARGO) test --locked --profile sim -p libraft-sim --features deliberate-bugs --test deliberate_bugs -- $(BUGS)

# Optimised, with debug assertions.
SIM = $(CARGO) run --locked --quiet --profile sim -p libraft-sim --
test-sim: setup ## simulated worlds of a fixed set of seeds, those that once failed first
	$(CARGO) test --locked --profile sim -p libraft-sim --test seeds -- --nocapture --test-threads 1

SEED    ?= 1
STEPS   ?= 10000
WITHOUT ?=
sim: ## one simulated world: SEED=1 STEPS=10000 WITHOUT=loss,kill
	@$(SIM) --seed $(SEED) --steps $(STEPS) --without "$(WITHOUT)"

sim-long: ## simulated worlds until stopped
	@$(SIM) --long --steps $(STEPS)

test-conformance: setup ## the same scenarios in every language, mixed clusters, the exit matrix
	tests/conformance/run

conformance-accept: setup ## write the table of the conformance suite anew
	$(CARGO) build --locked --quiet -p libraft-conformance
	target/debug/conformance build
	target/debug/conformance scenarios --accept

# How often each program of the exit matrix ends.
REPETITIONS ?= 50
exit-matrix: setup ## however a program ends, in every language, REPETITIONS=50 times
	$(CARGO) build --locked --quiet -p libraft-conformance
	target/debug/conformance build
	target/debug/conformance exit-matrix --repetitions $(REPETITIONS) --jobs 2

demo-mixed: setup ## the demo, with the key-value programs of all languages as one cluster
	@$(CARGO) build --locked --quiet -p libraft-conformance -p libraft-demo
	@target/debug/conformance build
	@target/debug/conformance demo

# Such as BENCH="--seconds 1 --sizes 16".
BENCH ?=
bench: build ## throughput, latency and CPU of three replicas beside the machine's own floor
	@$(CARGO) run --locked --quiet --profile $(PROFILE) -p raftctl -- bench $(BENCH)
	@echo
	@$(MAKE) --no-print-directory bench-languages

# Such as BENCH_LANGUAGES="--seconds 1 --driver rust --driver java".
BENCH_LANGUAGES ?=
bench-languages: setup ## throughput of every language beside Rust's
	@$(CARGO) build --locked --quiet --profile $(PROFILE) -p libraft-conformance
	@$(BUILD)/conformance build --profile $(PROFILE) >/dev/null
	@$(BUILD)/conformance bench --profile $(PROFILE) $(BENCH_LANGUAGES)

# How often `make soak` kills.
ROUNDS ?= 200
soak: build ## ROUNDS=200 crashes, a callback that blocks for a minute, 50 GiB through a log, and soak-bindings
	LIBRAFT_BLOCKED_MS=60000 $(CARGO) test --locked --release -p libraft --test runtime an_apply_that_blocks
	LIBRAFT_CRASH_ROUNDS=$(ROUNDS) $(CARGO) test --locked --release -p libraft-tests --test crash -- --nocapture
	LIBRAFT_ENDURANCE_MIB=51200 $(CARGO) test --locked --release -p libraft-storage --test endurance -- --nocapture
	@$(MAKE) --no-print-directory soak-bindings

# How many proposals `make soak-bindings` makes in each language; `make test` makes a million.
LIBRAFT_MEMORY_PROPOSALS ?= 10000000
soak-bindings: export LIBRAFT_MEMORY_PROPOSALS := $(LIBRAFT_MEMORY_PROPOSALS)
soak-bindings: setup ## memory of LIBRAFT_MEMORY_PROPOSALS=10000000 proposals in Java, Node.js, Python, C++ and C
	bindings/java/build-native && mvn -B -q -f bindings/java -Dtest=MemoryTest test
	bindings/node/run-tests tests/memory.test.js
	bindings/python/run-tests tests/test_memory.py
	bindings/cpp/run-tests memory
	tests/c/run --memory

# How many states `make power-cuts` looks at, and with how many ways of damage.
STATES ?= 50000
power-cuts: build ## power cuts and damage of the log at STATES=50000 moments; SEED=1
	LIBRAFT_SEED=$(SEED) LIBRAFT_POWER_CUTS=$(STATES) LIBRAFT_DAMAGES=$(STATES) $(CARGO) test --locked \
	    -p libraft-storage --test power_cut --test damage -- --nocapture --test-threads 1

package-python: setup ## the wheel of the Python package, below target/wheels
	target/venv/bin/maturin build --quiet --profile $(PROFILE) --manifest-path bindings/python/Cargo.toml \
	    --out target/wheels
	@ls target/wheels/*.whl

package-java: build ## the jar for Java programs, native library included (needs Maven)
	bindings/java/build-native release
	mvn -B -q -f bindings/java -DskipTests package

package-node: setup ## the package of npm, its binary inside, below target/node
	bindings/node/package $(PROFILE)

header: setup ## write include/libraft.h anew from ffi/src
	ffi/generate-header

abi-accept: setup ## accept the ABI of today as the one to keep
	ffi/check-abi --accept

third-party: ## write THIRD-PARTY-LICENSES anew
	.ci/third-party-licenses

# Without cargo (as in `sudo make install`, where root often has none) the library that is already
# built is installed.
install: ## install library, headers, pkg-config and CMake files (PREFIX, DESTDIR)
	@if command -v $(CARGO) >/dev/null || ! [ -f $(BUILD)/libraft.so ]; then $(MAKE) --no-print-directory lib; fi
	install -d "$(DESTDIR)$(INCLUDEDIR)/libraft" "$(DESTDIR)$(LIBDIR)/pkgconfig" "$(DESTDIR)$(LIBDIR)/cmake/libraft" \
	    "$(DESTDIR)$(DOCDIR)"
	install -m 644 include/*.h include/*.hpp "$(DESTDIR)$(INCLUDEDIR)"
	install -m 644 include/libraft/*.hpp "$(DESTDIR)$(INCLUDEDIR)/libraft"
	install -m 755 $(BUILD)/libraft.so "$(DESTDIR)$(LIBDIR)/libraft.so.1"
	ln -sf libraft.so.1 "$(DESTDIR)$(LIBDIR)/libraft.so"
	install -m 644 $(BUILD)/libraft.a "$(DESTDIR)$(LIBDIR)"
	sed $(FILL_IN) ffi/package/libraft.pc.in >"$(DESTDIR)$(LIBDIR)/pkgconfig/libraft.pc"
	sed $(FILL_IN) ffi/package/libraftConfig.cmake.in \
	    >"$(DESTDIR)$(LIBDIR)/cmake/libraft/libraftConfig.cmake"
	sed $(FILL_IN) ffi/package/libraftConfigVersion.cmake.in \
	    >"$(DESTDIR)$(LIBDIR)/cmake/libraft/libraftConfigVersion.cmake"
	install -m 644 LICENSE THIRD-PARTY-LICENSES README.md CHANGELOG.md "$(DESTDIR)$(DOCDIR)"

FILL_IN = -e 's|@PREFIX@|$(PREFIX)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' -e 's|@LIBDIR@|$(LIBDIR)|' \
          -e 's|@VERSION@|$(VERSION)|' -e 's|@SYSTEM_LIBS@|$(SYSTEM_LIBS)|'

clean: ## remove everything that was built
	rm -rf target
