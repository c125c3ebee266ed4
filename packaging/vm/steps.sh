# The steps of the scenario, sourced by scenario.sh.

debian_12() {
    has "$(. /etc/os-release; echo "$PRETTY_NAME")" "Debian GNU/Linux 12"
    has "$(uname -r)" 6.1.
    same "$(stat -f -c %T /sys/fs/cgroup)" cgroup2fs
    same "$(grep -c cgroup /proc/mounts)" 1
    has "$(systemctl --version)" "systemd 252"
    systemctl is-system-running --wait || true
}

set_up() {
    /payload/packaging/setup.sh "$profile"
    answers hello "Hello from Landfall"
}

doctor() {
    said=$(landfall doctor)
    echo "$said"
    has "$said" "cgroup v2 with cpu, memory and pids"
    has "$said" "systemd"
    # Debian's own settings: few watches, and a kernel that tells its addresses.
    ! grep -E '^(warn|fail)' <<<"$said" | grep -vE '^warn +(watches|hardening): '
}

units() {
    same "$(systemctl is-enabled landfall.service)" enabled
    for unit in landfall landfall-agent landfall-router landfall-server; do systemctl is-active $unit; done
    same "$(ps -o user= -p "$(main_pid landfall-agent)")" root
    for role in router server; do
        pid=$(main_pid landfall-$role)
        same "$(ps -o user= -p "$pid")" landfall
        same "$(awk '/^NoNewPrivs/ { print $2 }' "/proc/$pid/status")" 1
    done
    for role in router server; do
        same "$(awk '/^CapEff/ { print $2 }' "/proc/$(main_pid landfall-$role)/status")" 0000000000000000
    done
    systemctl is-active landfall-router.socket
    same "$(systemctl show --property=Delegate --value landfall)" yes
}

selftest() {
    dir=$(mktemp -d)
    # The sandbox's own user must be able to walk to its root.
    mkdir "$dir/run" "$dir/data"
    chmod 0711 "$dir" "$dir/run" "$dir/data"
    /usr/local/lib/landfall/landfall-shim selftest /usr/local/lib/landfall/landfall-init "$dir/run" "$dir/data"
    rm -r "$dir"
    ! ls -d /sys/fs/cgroup/selftest-* 2>/dev/null
}

push() {
    mkdir blog
    cp "$here"/app/* blog
    cd blog
    git init -q -b main
    git add .
    git commit -qm "An app"
    landfall create blog
    said=$(git push landfall main 2>&1)
    echo "$said"
    has "$said" "-----> "
    has "$said" "Procfile"
    answers blog "Hello from Landfall"
    same "$(release blog)" 2
}

# In the cgroup of the unit that outlives the processes, limited by every controller, with the controllers switched on all the way down.
delegated() {
    dyno=$(dyno_cgroup "$(web blog)")
    ls -d "$dyno"
    # Its size is 512 MiB; at twice that it ends (R15).
    same "$(cat "$dyno/memory.max")" $((1024 << 20))
    same "$(cat "$dyno/pids.max")" 256
    same "$(cat "$dyno/cpu.weight")" 100
    for dir in /sys/fs/cgroup /sys/fs/cgroup/system.slice "$unit_cgroup" "$unit_cgroup/dynos"; do
        for controller in cpu memory pids; do has " $(cat "$dir/cgroup.subtree_control") " " $controller "; done
    done
    for role in agent router server; do
        same "$(cat "/sys/fs/cgroup/system.slice/landfall-$role.service/cgroup.procs")" "$(main_pid landfall-$role)"
    done
    [ "$(wc -l <"$unit_cgroup/dynos-shims/cgroup.procs")" -ge 2 ]
}

# Ids on disk are the container's own, ids of processes are the app's block: the mount in between maps them.
mapped() {
    web=$(web blog)
    landfall ps:exec -a blog web.1 -- touch /app/made-in-the-dyno
    same "$(stat -c %u:%g "/var/lib/landfall/agent/containers/d-${web//-/}/upper/app/made-in-the-dyno")" 1000:1000
    uid=$(ps -o uid= -p "$(head -n 1 "$(dyno_cgroup "$web")/cgroup.procs")")
    [ "$uid" -ge 100000 ]
    same "$(landfall run -a blog --no-tty -- stat -c %u:%g /app/app.py)" 1000:1000
}

config_and_rollback() {
    before=$(release blog)
    landfall config:set GREETING=changed -a blog
    eventually 60 answers blog changed
    same "$(release blog)" $((before + 1))
    landfall rollback "v$before" -a blog
    eventually 60 answers blog "Hello from Landfall"
    same "$(release blog)" $((before + 2))
}

run_and_exec() {
    same "$(landfall run -a blog --no-tty -- python3 -c 'print(6 * 7)')" 42
    same "$(echo through | landfall run -a blog --no-tty -- cat)" through
    code=0
    landfall run -a blog --no-tty -- sh -c 'exit 7' || code=$?
    same $code 7
    has "$(landfall ps:exec -a blog web.1 -- cat /proc/self/cgroup)" "0::/"
    same "$(landfall ps:exec -a blog web.1 -- id -u)" 1000
}

logs() {
    page blog /a-line-in-the-log
    eventually 30 in_log blog "GET /a-line-in-the-log"
    in_log blog "heroku[router]" || in_log blog "[router]"
}
in_log() { has "$(landfall logs -a "$1" -n 500)" "$2"; }

scale() {
    landfall ps:scale web=2 worker=1 -a blog
    eventually 90 up blog web 2
    eventually 90 up blog worker 1
    eventually 30 in_log blog "worker works"
    landfall ps:scale web=1 worker=0 -a blog
    eventually 60 up blog web 1
    eventually 60 up blog worker 0
    eventually 60 same_lines "$unit_cgroup/dynos" 2
}
same_lines() { same "$(find "$1" -mindepth 1 -maxdepth 1 -type d | wc -l)" "$2"; }

# A machine with swap, as most are: it must be no way around the limit.
memory() {
    before=$(web blog)
    same "$(cat "$(dyno_cgroup "$before")/memory.swap.max")" 0
    fallocate -l 1G /payload/swap
    chmod 0600 /payload/swap
    mkswap /payload/swap
    swapon /payload/swap
    page blog /eat || true
    eventually 30 in_log blog "Error R15 (Memory quota vastly exceeded)"
    eventually 120 answers blog "Hello from Landfall"
    [ "$(web blog)" != "$before" ]
    answers hello "Hello from Landfall"
    for unit in landfall landfall-agent landfall-router landfall-server; do systemctl is-active $unit; done
    same "$(systemctl show --property=NRestarts --value landfall-agent)" 0
    swapoff /payload/swap
    rm /payload/swap
}

shim_killed() {
    before=$(web blog)
    kill -9 "$(pgrep -f "landfall-shim.*d-${before//-/}")"
    eventually 120 another_web blog "$before"
    answers blog "Hello from Landfall"
    [ ! -e "$(dyno_cgroup "$before")" ]
}
another_web() { now=$(web "$1"); echo "$now"; [ -n "$now" ] && [ "$now" != "$2" ]; }

pids() {
    said=$(page blog /forks)
    has "$said" "Resource temporarily unavailable"
    [ "${said%% *}" -lt 256 ]
}

stats() {
    token=$(sed -n 's/^token = "\(.*\)"/\1/p' /root/.config/landfall/credentials.toml)
    read_stats() {
        curl -sS -H "Authorization: Bearer $token" -H "Accept: application/vnd.heroku+json; version=3" http://127.0.0.1:5000/apps/blog/stats
    }
    read_stats
    page blog /spin
    said=$(read_stats)
    echo "$said"
    echo "$said" | json 'd[0]["name"]'
    same "$(echo "$said" | json 'd[0]["cpu_percent"] > 5 and d[0]["memory_bytes"] > 5e6 and d[0]["memory_limit_bytes"] == 512 << 20')" True
}

# Killed six times in a row, which is more than systemd forgives by default, each is back, the dyno is the same and has answered all along.
killed() {
    role=$1
    before=$(web blog)
    for _ in 1 2 3 4 5 6; do
        old=$(main_pid "landfall-$role")
        kill -9 "$old"
        # While no router runs, the request waits.
        answers blog "Hello from Landfall"
        eventually 30 another_pid "landfall-$role" "$old"
    done
    eventually 60 answers blog "Hello from Landfall"
    eventually 60 curl -fsS http://127.0.0.1:5000/health
    eventually 60 same_web blog "$before"
}
another_pid() { now=$(main_pid "$1"); [ "$now" != 0 ] && [ "$now" != "$2" ]; }
same_web() { same "$(web "$1")" "$2"; }

restarted() {
    before=$(web blog)
    shim=$(head -n 1 "$unit_cgroup/dynos-shims/cgroup.procs")
    systemctl restart landfall-agent
    answers blog "Hello from Landfall"
    systemctl daemon-reload
    landfall up --restart
    eventually 60 answers blog "Hello from Landfall"
    eventually 60 same_web blog "$before"
    [ -d "/proc/$shim" ]
    same "$(cat "$(dyno_cgroup "$before")/memory.max")" $((1024 << 20))
    same "$(cat "$(dyno_cgroup "$before")/cpu.weight")" 100
    landfall ps:exec -a blog web.1 -- true
}

up_again() {
    before=$(web blog)
    landfall up
    same "$(web blog)" "$before"
    has "$(LANDFALL_ROUTER_LISTEN=127.0.0.1:9 landfall up 2>&1 || true)" "LANDFALL_ROUTER_LISTEN"
}

told_before() { same "$(goodbyes)" $(($(cat "$state/goodbyes") + 2)); }

# As after a power cut or a reboot: the same release, the same formation, new dynos.
back() {
    eventually 120 answers hello "Hello from Landfall"
    eventually 120 answers blog "Hello from Landfall"
    same "$(release blog)" "$(cat "$state/release")"
    eventually 60 up blog web 2
    landfall doctor
    same "$(systemctl --failed --no-legend | wc -l)" 0
}

journal_is_calm() {
    ! journalctl --boot --no-pager -u 'landfall*' | grep -E 'panicked|H99|R99'
}

destroyed() {
    id=$(landfall apps:info -a blog --json | json 'd["id"]')
    landfall apps:destroy -a blog --confirm blog
    eventually 60 same_lines "$unit_cgroup/dynos" 1
    same "$(curl -sS -o /dev/null -w '%{http_code}' -H 'Host: blog.localhost' http://127.0.0.1:8080/)" 404
    eventually 60 nothing_named "$id"
    same "$(ip -o link show type veth | wc -l)" 1
    answers hello "Hello from Landfall"
}
nothing_named() { same "$(find /var/lib/landfall /run/landfall -name "*$1*")" ""; }

nothing_left() {
    same "$(pgrep -a landfall | grep -v scenario)" ""
    same "$(ps -eo uid= | awk '$1 >= 100000' | wc -l)" 0
    same "$(grep -c landfall /proc/mounts)" 1
    same "$(ip -o link | grep -vc ' lo:')" 0
    same "$(nft list tables)" ""
    same "$(find /sys/fs/cgroup -type d -name '*landfall*' ! -name 'var-lib-landfall.mount')" ""
    same "$(ls /var/lib/landfall/agent/containers 2>/dev/null)" ""
}

# Dynos are told and have time to end: this is also what happens when the machine goes off.
stopped() {
    before=$(goodbyes)
    systemctl stop landfall
    nothing_left
    same "$(goodbyes)" $((before + 2))
}
goodbyes() { cat /var/lib/landfall/logs/*/* | grep -c "told to end" || true; }

started() {
    systemctl start landfall
    back
}

down() {
    landfall down
    nothing_left
    same "$(systemctl is-enabled landfall.service || true)" disabled
    has "$(landfall down)" "was not running"
}

supervised() {
    landfall up --own-supervisor
    eventually 120 answers hello "Hello from Landfall"
    same "$(systemctl is-active landfall-agent || true)" inactive
    landfall up
    landfall down
    nothing_left
}

part_1() {
    step "this is Debian 12 with kernel 6.1, systemd 252 and cgroup v2 alone" debian_12
    step "what make up does after the build: install, units, start, sample app" set_up
    step "doctor finds all in order" doctor
    step "units: enabled, running, with no more privileges than they need" units
    step "the sandbox refuses what it must on this kernel" selftest
    step "git push: built in the sandbox, released, served" push
    step "dynos are in a cgroup that systemd has delegated, with their limits" delegated
    step "layers are mounted with mapped ids" mapped
    step "config:set and rollback make releases that serve" config_and_rollback
    step "run and ps:exec: output, input, exit status" run_and_exec
    step "logs" logs
    step "ps:scale" scale
    step "a dyno over its memory ends alone, is told R15 and is replaced" memory
    step "a dyno has no more processes than its size allows" pids
    step "stats are those of cgroup v2" stats
    step "kill -9 of a shim: its dyno is replaced" shim_killed
    for role in agent server router; do step "kill -9 of the $role, six times: it is back, the dyno runs on" killed $role; done
    step "agent and all are restarted: the dyno runs on, with its limits" restarted
    step "up again changes nothing" up_again
    step "the journal knows of no panic and no platform error" journal_is_calm
    step "two web dynos, before the machine is rebooted" two_dynos
    systemctl reboot
}
two_dynos() {
    landfall ps:scale web=2 -a blog
    eventually 60 up blog web 2
    release blog >"$state/release"
    goodbyes >"$state/goodbyes"
}

part_2() {
    step "rebooted: the dynos were told before the machine went down" told_before
    step "rebooted: everything is back, without a new release" back
    step "the journal knows of no panic and no platform error" journal_is_calm
    # What is a power cut to the machine: no process is told, nothing is written any more.
    echo b >/proc/sysrq-trigger
}

part_3() {
    step "after a power cut everything is back, without a new release" back
    step "systemctl stop landfall ends the dynos kindly and leaves nothing" stopped
    step "systemctl start landfall brings all of it back" started
    step "apps:destroy leaves nothing of an app" destroyed
    step "landfall down leaves nothing, now and at the next boot" down
    step "with a supervisor of its own, beside systemd" supervised
    step "the journal knows of no panic and no platform error" journal_is_calm
    tell end
    systemctl poweroff
}
