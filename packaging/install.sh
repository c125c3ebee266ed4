#!/usr/bin/env bash
# Puts built programs in place: ROOT/bin/landfall and ROOT/lib/landfall. Usage: install.sh PROFILE ROOT
set -euo pipefail
profile=$1 root=$2
built=$TARGET/$profile static=$TARGET/$TRIPLE/$profile
install -d "$root/bin" "$root/lib/landfall/hooks"
# Rename into place: a running program's file is never written to.
put() { install -m 0755 "$1" "$2.new" && mv -f "$2.new" "$2"; }
put "$built/landfall" "$root/bin/landfall"
for program in landfall-shim landfall-init landfall-lifecycle landfall-buildpacks; do
    put "$static/$program" "$root/lib/landfall/$program"
done
"$root/lib/landfall/landfall-buildpacks" install "$root/lib/landfall/cnb"
for hook in pre-receive proc-receive; do ln -sfn ../../../bin/landfall "$root/lib/landfall/hooks/$hook"; done
