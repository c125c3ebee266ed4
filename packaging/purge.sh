#!/usr/bin/env bash
# The second half of `make purge`: data, configuration, programs and the system user go.
set -euo pipefail
installed=$PREFIX/bin/landfall
# Data, sockets and units are where the configuration says.
places=(/var/lib/landfall /run/landfall)
instance=landfall
if [ -x "$installed" ] && [ -f /etc/landfall/landfall.toml ]; then
    places+=("$("$installed" config:check --value data_dir)" "$("$installed" config:check --value run_dir)")
    instance=$("$installed" config:check --value instance)
    "$installed" logout --api "$("$installed" config:check --value api)" >/dev/null 2>&1 || true
fi
rm -rf -- "${places[@]}" /etc/landfall "$PREFIX/lib/landfall" "$PREFIX/bin/landfall" /usr/share/bash-completion/completions/landfall
rm -rf -- "/etc/systemd/system/$instance"{,-agent,-router,-server}.service{,.d} "/etc/systemd/system/$instance-router.socket"{,.d}
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
if getent passwd landfall >/dev/null; then userdel landfall; fi
echo "Landfall is gone from this machine"
