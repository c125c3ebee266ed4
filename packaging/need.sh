#!/usr/bin/env bash
# Installs the Debian packages that are named and missing. Says plainly what this machine lacks.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/phases.sh"

[ "$(id -u)" = 0 ] || stop "this needs root: containers, networks and packages do" "sudo make $*"
command -v apt-get >/dev/null || stop "this is not a Debian-like machine (no apt-get)" "use Debian 12 or newer"
if ! command -v cargo >/dev/null; then
    [ -x "$HOME/.cargo/bin/cargo" ] && export PATH="$HOME/.cargo/bin:$PATH"
    command -v cargo >/dev/null || stop "there is no Rust toolchain" "install rustup from https://rustup.rs, then: rustup toolchain install 1.95.0"
fi
free=$(df --output=avail -BM "$here" | tail -n 1 | tr -dc 0-9)
[ "$free" -ge 6000 ] || stop "only $free MB are free here; building needs 6000" "df -h"

missing=()
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    phase "reading package lists" apt-get update -qq
    phase "installing ${missing[*]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
