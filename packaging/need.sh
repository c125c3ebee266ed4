#!/usr/bin/env bash
# Installs the Debian packages that are named and missing. Says plainly what this machine lacks. GOAL is what make was asked for, TARGET where
# it builds.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/phases.sh"

[ "$(id -u)" = 0 ] || stop "this needs root: containers, networks and packages do" "sudo make ${GOAL:-up}"
command -v apt-get >/dev/null || stop "this is not a Debian-like machine (no apt-get)" "use Debian 12 or newer"
if ! command -v cargo >/dev/null; then
    [ -x "$HOME/.cargo/bin/cargo" ] && export PATH="$HOME/.cargo/bin:$PATH"
    command -v cargo >/dev/null || stop "there is no Rust toolchain" "install rustup from https://rustup.rs, then: rustup toolchain install 1.95.0"
fi
# Debian's own is older than what the sources are written in.
version=$(cargo --version)
version=${version#cargo 1.}
version=${version%%.*}
[ "${version:-0}" -ge 95 ] 2>/dev/null || stop "cargo is too old ($(cargo --version)); building needs 1.95" "install rustup from https://rustup.rs, then: rustup toolchain install 1.95.0"
# Where there is nothing yet, its first parent that is there counts.
room() {
    local place=$1
    while [ ! -e "$place" ]; do place=$(dirname "$place"); done
    free=$(df --output=avail -BM "$place" | tail -n 1 | tr -dc 0-9)
    [ "$free" -ge "$2" ] || stop "only $free MB are free at $place; $3 needs $2" "df -h"
}
room "${TARGET:-$here}" 6000 "building"
room /var/lib/landfall 2000 "what Landfall keeps"

missing=()
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    phase "reading package lists" apt-get update -qq
    phase "installing ${missing[*]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
