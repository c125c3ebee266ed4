#!/usr/bin/env bash
# What happens in the machine of `make test-vm`: a person installs Landfall on Debian 12 and uses it; then things die, the machine is
# rebooted and loses its power, and in the end nothing is left. Each step writes "ok SECONDS what" or "FAIL SECONDS what" to the second
# serial port, with what was said under it. Parts end with the machine; the next boot goes on with the next part.
set -uo pipefail
. /payload/built
here=/payload/packaging/vm
state=/payload/scenario
mkdir -p "$state"
report=/dev/ttyS1
stty -F "$report" raw -echo
exec 9>"$report"
export HOME=/root PREFIX=/usr/local TARGET=/payload/target TRIPLE=$triple LC_ALL=C.UTF-8 GIT_TERMINAL_PROMPT=0
export GIT_AUTHOR_NAME=User GIT_AUTHOR_EMAIL=user@example.com GIT_COMMITTER_NAME=User GIT_COMMITTER_EMAIL=user@example.com
cd /root

tell() { printf '%s\n' "$*" >&9; }

step() { # title function argument…
    local title=$1 start=$EPOCHREALTIME code
    shift
    (set -eE; "$@") >/tmp/step 2>&1 </dev/null
    code=$?
    local seconds
    seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%5.1f", b - a }')
    if [ $code -eq 0 ]; then
        tell "ok $seconds s  $title"
        if [ "$verbose" = yes ]; then tr -d '\r' </tmp/step | awk '{ print "        | " $0 }' >&9; fi
    else
        tell "FAIL $seconds s  $title"
        tail -n 40 /tmp/step | tr -d '\r' | awk '{ print "        | " $0 }' >&9
    fi
}

# Polls until the command succeeds; shows its last words if it never does. Emulation is slow: limits are for hangs, not for speed.
eventually() { # seconds command…
    local end=$((SECONDS + $1))
    shift
    until "$@" >/tmp/eventually 2>&1; do
        if [ $SECONDS -ge $end ]; then cat /tmp/eventually; echo "never came true: $*"; return 1; fi
        sleep 0.2
    done
    cat /tmp/eventually
}

same() { [ "$1" = "$2" ] || { echo "got:    $1"; echo "wanted: $2"; return 1; }; }
has() { case $1 in *"$2"*) ;; *) echo "$1"; echo "has no: $2"; return 1 ;; esac; }
json() { python3 -c "import json, sys; d = json.load(sys.stdin); print($1)"; }
page() { curl -sS --max-time 60 -H "Host: $1.localhost" "http://127.0.0.1:8080${2:-/}"; }
answers() { same "$(page "$1")" "$2"; }
release() { landfall releases -a "$1" --json | json 'd[0]["version"] if d[0]["version"] > d[-1]["version"] else d[-1]["version"]'; }
web() { landfall ps -a "$1" --json | json '" ".join(sorted(x["id"] for x in d if x["type"] == "web" and x["state"] == "up"))'; }
up() { same "$(landfall ps -a "$1" --json | json "sum(x['type'] == '$2' and x['state'] == 'up' for x in d)")" "$3"; }
main_pid() { systemctl show --property=MainPID --value "$1"; }
unit_cgroup=/sys/fs/cgroup/system.slice/landfall.service
dyno_cgroup() { echo "$unit_cgroup/dynos/d-${1//-/}"; }

. "$here/steps.sh"

part=$(cat "$state/part" 2>/dev/null || echo 1)
echo $((part + 1)) >"$state/part"
sync
"part_$part"
