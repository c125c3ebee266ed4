#!/usr/bin/env bash
# The second half of `make test-vm`: a Debian 12 machine with systemd, kernel 6.1 and cgroup v2, emulated by qemu; Landfall in it; the
# scenario beside this file. Ends with "N passed, N failed"; nothing is left but the image, which the next run uses again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
. packaging/phases.sh
# Seconds a whole run may take once the image is there.
limit=${LANDFALL_VM_LIMIT:-1800}
profile=${LANDFALL_VM_PROFILE:-debug}

[ "$TRIPLE" = x86_64-unknown-linux-gnu ] || stop "the machine that is emulated is x86_64; this one is $TRIPLE" "run it on x86_64"
image=$TARGET/landfall-vm-$(sha256sum <packaging/vm/image.sh | cut -c 1-12)
if [ ! -d "$image" ]; then
    rm -rf "$TARGET"/landfall-vm-*
    phase "making the machine from Debian packages (once)" packaging/vm/image.sh "$image"
fi
if [ "$profile" = release ]; then
    phase "building Landfall" cargo build --release -p landfall-cli
else
    phase "building the static programs" make --no-print-directory static
    phase "building Landfall" cargo build -p landfall-cli
fi
phase "putting the programs in place" env TARGET="$TARGET" TRIPLE="$TRIPLE" packaging/install.sh "$profile" "$TARGET/landfall-test"
phase "making the base images (once)" env LANDFALL_TEST_ROOT="$TARGET/landfall-test" cargo run -q -p landfall-tests --bin stack

work=$(mktemp -d "$TARGET/vm-run.XXXXXX")
machine=
cleanup() {
    # timeout hands the signal on to qemu, which ends at once.
    if [ -n "$machine" ]; then kill -TERM "$machine" 2>/dev/null || true; wait "$machine" 2>/dev/null || true; fi
    rm -rf "$work" "$phase_log"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# What a person has after the build: the checkout's packaging folder and the build output. Stripped, because it is read by an emulated disk.
payload=$work/payload
install -d "$payload/target/$profile" "$payload/target/$TRIPLE/$profile" "$payload/data/agent"
chmod 0700 "$payload/data/agent"
cp -a packaging "$payload/packaging"
strip -o "$payload/target/$profile/landfall" "$TARGET/$profile/landfall"
for program in landfall-shim landfall-init landfall-lifecycle landfall-buildpacks; do
    strip -o "$payload/target/$TRIPLE/$profile/$program" "$TARGET/$TRIPLE/$profile/$program"
done
echo "profile=$profile triple=$TRIPLE verbose=${LANDFALL_VM_VERBOSE:-no}" >"$payload/built"
cp -al "$TARGET/landfall-stack-1/images" "$payload/data/agent/images"
phase "making the disk with programs and base images" mke2fs -q -t ext4 -d "$payload" "$work/payload.ext4" 6G

began=$SECONDS
# Writes go to files that qemu has deleted already: the image stays as it is, and a reset of the machine keeps its disks.
qemu=(qemu-system-x86_64 -accel tcg,thread=multi -cpu max -machine q35 -smp 2 -m 2048 -nodefaults -no-user-config -display none
    -kernel "$image/kernel" -initrd "$image/initrd"
    -append "root=/dev/vda ro console=ttyS0 quiet panic=-1 systemd.show_status=error"
    -drive "file=$image/root.ext4,if=virtio,format=raw,snapshot=on,cache=unsafe"
    -drive "file=$work/payload.ext4,if=virtio,format=raw,snapshot=on,cache=unsafe"
    -serial "file:$work/console" -chardev stdio,id=report,signal=off -serial chardev:report)
# The machine goes off by itself. One that does not is ended by timeout, and by this script's own end, whatever kind that is.
exec 3< <(TMPDIR=$work exec setpriv --pdeathsig TERM timeout --kill-after=5 "$limit" "${qemu[@]}" </dev/null 2>"$work/qemu")
machine=$!

passed=0 failed=0 ended=no
while IFS= read -r line <&3; do
    line=${line%$'\r'}
    printf '  %s\n' "$line"
    case $line in
        "ok "*) passed=$((passed + 1)) ;;
        "FAIL "*) failed=$((failed + 1)) ;;
        end) ended=yes ;;
    esac
done
code=0; wait "$machine" || code=$?
machine=
if [ $ended = no ] || [ $code -ne 0 ] || [ $failed -ne 0 ]; then
    tail -n 60 "$work/qemu" "$work/console" | tr -d '\r' | sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g; s/^/      /'
fi
if [ $ended = no ] || [ $code -ne 0 ]; then
    echo " !    the machine ended before its scenario did (qemu: $code, $((SECONDS - began)) s of at most $limit)"
    failed=$((failed + 1))
fi
echo "  the machine ran for $((SECONDS - began)) s"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
