#!/usr/bin/env bash
# The second half of `make purge`: data, configuration, programs and the system user go.
set -euo pipefail
rm -rf /var/lib/landfall /run/landfall /etc/landfall "$PREFIX/lib/landfall" "$PREFIX/bin/landfall" /usr/share/bash-completion/completions/landfall
rm -rf /etc/systemd/system/landfall{,-agent,-router,-server}.service{,.d} /etc/systemd/system/landfall-router.socket{,.d}
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
if getent passwd landfall >/dev/null; then userdel landfall; fi
echo "Landfall is gone from this machine"
