#!/usr/bin/env bash
# The second half of `make test`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."
. "$here/phases.sh"

# Unprivileged processes and containers' users must be able to walk to the programs under test; a closed home folder bars their way.
umask 022
mkdir -p "$TARGET"
if ! setpriv --reuid=65534 --regid=65534 --clear-groups test -r "$TARGET"; then
    TARGET=/var/tmp/landfall-target
    mkdir -p "$TARGET"
    echo "  building in $TARGET, because the checkout's folder is closed to other users"
fi
export TARGET CARGO_TARGET_DIR=$TARGET

if git grep -nE '"(ba)?sh"\)?\.?(arg)?\(?"?-c|Command::new\("(ba|da)?sh"\)' -- '*.rs' ':!buildpacks' ':!builder/lifecycle' ':!tests' ':!*/tests/*' ':!*/tests.rs'; then
    stop "a shell string in the control path (lines above)" "use an argument list"
fi
phase "checking the format" cargo fmt --all --check
phase "building the static programs" make --no-print-directory static
phase "building Landfall and its tests" cargo build --workspace --all-targets
phase "putting the programs in place" env TARGET="$TARGET" TRIPLE="$TRIPLE" "$here/install.sh" debug "$TARGET/landfall-test"
export LANDFALL_TEST_ROOT=$TARGET/landfall-test
cargo test --workspace --all-targets --no-fail-fast
