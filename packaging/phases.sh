# Sourced by up.sh and test.sh: a phase shows a running line with elapsed time; its output is kept and shown only if it fails.

phase_log=${TMPDIR:-/tmp}/landfall-phase.$$.log
trap 'rm -f "$phase_log"' EXIT

phase() { # title command…
    local title=$1 start=$SECONDS pid code
    shift
    "$@" >"$phase_log" 2>&1 &
    pid=$!
    if [ -t 1 ]; then
        while kill -0 "$pid" 2>/dev/null; do
            printf '\r\033[K  %s… %ds  %s' "$title" $((SECONDS - start)) "$(tail -n 1 "$phase_log" | tr -d '\r' | cut -c 1-60)"
            sleep 0.2
        done
        printf '\r\033[K'
    else
        printf '  %s…\n' "$title"
    fi
    code=0; wait "$pid" || code=$?
    if [ $code -ne 0 ]; then
        printf ' !    %s failed after %ds:\n' "$title" $((SECONDS - start))
        tail -n 40 "$phase_log" | sed 's/^/      /'
        return $code
    fi
    printf '  %s: %ds\n' "$title" $((SECONDS - start))
}

stop() { # message next
    printf ' !    %s\n !    Next: %s\n' "$1" "$2" >&2
    exit 1
}
