#!/usr/bin/env bash
# The second half of `make up`: build, then set up what was built.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."
. "$here/phases.sh"

phase "building Landfall" cargo build --release -p landfall-cli
phase "building the programs that run in containers" cargo build --release --target "$TRIPLE" \
    --config "target.$TRIPLE.rustflags=[\"-C\",\"target-feature=+crt-static\"]" -p landfall-shim -p landfall-init -p landfall-lifecycle -p landfall-buildpacks
"$here/setup.sh" release
