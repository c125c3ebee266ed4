# `make help` lists everything.
SHELL := /bin/bash
export PATH := $(PATH):$(HOME)/.cargo/bin
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
TRIPLE := $(shell uname -m)-unknown-linux-gnu
PREFIX ?= /usr/local

# What runs, what builds and what tests Landfall, as Debian packages.
RUN_PACKAGES := git mmdebstrap nftables ca-certificates debian-archive-keyring curl
BUILD_PACKAGES := gcc g++ make pkg-config cmake libseccomp-dev
TEST_PACKAGES := e2fsprogs mount postgresql python3 python3-pip python3-venv openssh-client busybox-static iproute2 util-linux chromium chromium-driver procps zsh fish libfaketime crun runc
BENCH_PACKAGES := haproxy nginx-light wrk
VM_PACKAGES := qemu-system-x86 e2fsprogs binutils

# The programs that run inside containers, or as their parent, are static: they must work in any image.
STATIC := -p landfall-shim -p landfall-init -p landfall-lifecycle -p landfall-buildpacks
STATIC_FLAGS := --target $(TRIPLE) --config 'target.$(TRIPLE).rustflags=["-C","target-feature=+crt-static"]'

.PHONY: help up down purge test test-vm bench static c t fmt lint

help: ## list what make can do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

up: ## install what is missing, build, start Landfall, deploy the sample app
	@GOAL="$@" TARGET="$(TARGET)" packaging/need.sh $(RUN_PACKAGES) $(BUILD_PACKAGES)
	@TARGET="$(TARGET)" TRIPLE="$(TRIPLE)" PREFIX="$(PREFIX)" packaging/up.sh

down: ## stop everything; data stays
	@if [ -x "$(PREFIX)/bin/landfall" ]; then "$(PREFIX)/bin/landfall" down; else echo "Landfall is not installed at $(PREFIX)"; fi

purge: down ## remove data, configuration and programs too
	@PREFIX="$(PREFIX)" packaging/purge.sh

test: ## everything: unit, property, snapshot and whole-system tests
	@GOAL="$@" TARGET="$(TARGET)" packaging/need.sh $(RUN_PACKAGES) $(BUILD_PACKAGES) $(TEST_PACKAGES)
	@TARGET="$(TARGET)" TRIPLE="$(TRIPLE)" packaging/test.sh

test-vm: ## use Landfall on an emulated Debian 12: systemd, kernel 6.1, cgroup v2, a reboot and a power cut
	@GOAL="$@" TARGET="$(TARGET)" packaging/need.sh $(RUN_PACKAGES) $(BUILD_PACKAGES) $(VM_PACKAGES)
	@TARGET="$(TARGET)" CARGO_TARGET_DIR="$(TARGET)" TRIPLE="$(TRIPLE)" packaging/vm/run.sh

bench: ## measure, as ratios against named peers; keeps bench/results.json
	@GOAL="$@" TARGET="$(TARGET)" packaging/need.sh $(RUN_PACKAGES) $(BUILD_PACKAGES) $(TEST_PACKAGES) $(BENCH_PACKAGES)
	@TARGET="$(TARGET)" TRIPLE="$(TRIPLE)" packaging/bench.sh

static: ## the static programs, debug profile
	cargo build $(STATIC_FLAGS) $(STATIC)

c: ## check one room: make c ROOM=router
	cargo check -p landfall-$(ROOM) --all-targets

t: ## test one room: make t ROOM=router [T=filter]
	cargo test -p landfall-$(ROOM) -- $(T)

fmt: ## format
	cargo fmt --all

lint: ## clippy, warnings are errors
	cargo clippy --workspace --all-targets -- -D warnings
