#!/usr/bin/env bash
# The part of `make up` that follows the build: install what was built, start Landfall, deploy the sample app. Usage: setup.sh PROFILE
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/phases.sh"
profile=$1
began=$SECONDS
config=/etc/landfall/landfall.toml
installed=$PREFIX/bin/landfall

changed=yes
cmp -s "$TARGET/$profile/landfall" "$installed" && cmp -s "$TARGET/$TRIPLE/$profile/landfall-shim" "$PREFIX/lib/landfall/landfall-shim" && changed=no
if [ $changed = yes ]; then
    phase "installing to $PREFIX" env TARGET="$TARGET" TRIPLE="$TRIPLE" "$here/install.sh" "$profile" "$PREFIX"
fi
getent passwd landfall >/dev/null || useradd --system --home-dir /var/lib/landfall --shell /usr/sbin/nologin landfall
if [ ! -f $config ]; then
    install -d /etc/landfall
    install -m 0644 "$here/landfall.toml" $config
    sed -i "s|^libexec_dir = .*|libexec_dir = \"$PREFIX/lib/landfall\"|" $config
    # A machine behind its own certificate authority says so in SSL_CERT_FILE; builds and dynos must trust it too.
    if [ -n "${SSL_CERT_FILE:-}" ] && [ -f "$SSL_CERT_FILE" ]; then
        sed -i "s|^#: ca_bundle = .*|ca_bundle = \"$SSL_CERT_FILE\"|" $config
    fi
fi
if [ -d /usr/share/bash-completion/completions ]; then "$installed" completions bash >/usr/share/bash-completion/completions/landfall; fi

if [ $changed = yes ]; then "$installed" up --restart; else "$installed" up; fi
# What follows is asked of this Landfall, wherever its configuration put it and whatever else root is logged in to.
set_to() { "$installed" config:check --value "$1"; }
api=$(set_to api)
export LANDFALL_API=$api
phase "making the stack from Debian packages (once)" "$installed" stacks:create trixie

app=hello
if ! "$installed" apps:info -a $app >/dev/null 2>&1; then "$installed" create $app --no-remote; fi
work=$(mktemp -d)
trap 'rm -rf "$work" "$phase_log"' EXIT
cp "$here"/sample/* "$work"
git -C "$work" init -q -b main
git -C "$work" add .
# Fixed dates: the same sample is the same commit, so that a second run pushes nothing.
GIT_AUTHOR_DATE=2026-01-01T00:00:00Z GIT_COMMITTER_DATE=2026-01-01T00:00:00Z git -C "$work" -c user.name=Landfall -c user.email=sample@localhost commit -qm "A sample app"
(cd "$work" && "$installed" git:remote -a $app >/dev/null && git push landfall main)

domain=$(set_to platform_domain)
router=$(set_to router)
port=:${router##*:}
[ "$port" != :80 ] || port=
answer=$(curl -fsS --max-time 90 -H "Host: $app.$domain" "$router/") || stop "$app does not answer at $router" "landfall logs -a $app"
cat <<END

Landfall is up ($((SECONDS - began)) s).

  http://$app.$domain$port/  answers:  $answer

  API, git over HTTP and dashboard   $api/
  git over SSH                       $(set_to ssh)/<app>.git
  logged in as                       $("$installed" whoami)
  log in to the dashboard with       $PREFIX/bin/landfall admin   (shows the address and the first password)

Deploy your own, in its folder:

  landfall create blog
  git push landfall main
  curl http://blog.$domain$port/
END
