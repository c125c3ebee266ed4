#!/usr/bin/env bash
# The second half of `make bench`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."
. "$here/phases.sh"
phase "building Landfall" cargo build --release -p landfall-cli
phase "building the programs that run in containers" cargo build --release --target "$TRIPLE" \
    --config "target.$TRIPLE.rustflags=[\"-C\",\"target-feature=+crt-static\"]" -p landfall-shim -p landfall-init -p landfall-lifecycle -p landfall-buildpacks
phase "putting the programs in place" env TARGET="$TARGET" TRIPLE="$TRIPLE" "$here/install.sh" release "$TARGET/landfall-bench"
phase "building the benchmark" cargo build -p landfall-tests --bin bench
mkdir -p bench
LANDFALL_TEST_ROOT=$TARGET/landfall-bench "$TARGET/debug/bench" bench/results.json README.md
