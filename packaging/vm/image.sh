#!/usr/bin/env bash
# Makes the machine of `make test-vm` from Debian packages, once: kernel, initrd and an ext4 root in DIR. Usage: image.sh DIR
#
# No root file system is mounted and nothing runs but the packages' own scripts: mke2fs copies a folder into the image.
set -euo pipefail
dir=$1
packages=(systemd-sysv udev dbus linux-image-cloud-amd64 initramfs-tools kmod procps iproute2 passwd util-linux
    git nftables mmdebstrap ca-certificates debian-archive-keyring curl python3 openssh-client)

work=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root

# The initrd needs the disk's driver and nothing else; ext4 is in the kernel.
drivers='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
    echo MODULES=list >"$1/etc/initramfs-tools/conf.d/landfall"
    printf "virtio_pci\nvirtio_blk\n" >"$1/usr/share/initramfs-tools/modules.d/landfall"'
mmdebstrap --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" --essential-hook="$drivers" bookworm "$root"

echo landfall-vm >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 landfall-vm\n' >"$root/etc/hosts"
printf '/dev/vda / ext4 defaults 0 0\n/dev/vdb /payload ext4 defaults 0 0\n/payload/data /var/lib/landfall none bind 0 0\n' >"$root/etc/fstab"
mkdir "$root/payload" "$root/var/lib/landfall"
# What Debian does once a day would only run beside the scenario.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
cat >"$root/etc/systemd/system/scenario.service" <<'END'
[Unit]
Description=The scenario of make test-vm
After=multi-user.target

[Service]
ExecStart=/payload/packaging/vm/scenario.sh
Environment=HOME=/root
StandardOutput=journal+console
StandardError=journal+console
END
ln -s /etc/systemd/system/scenario.service "$root/etc/systemd/system/multi-user.target.wants/scenario.service"

mkdir "$work/made"
cp "$root"/boot/vmlinuz-* "$work/made/kernel"
cp "$root"/boot/initrd.img-* "$work/made/initrd"
mke2fs -q -t ext4 -d "$root" "$work/made/root.ext4" 2G
mkdir -p "$(dirname "$dir")"
rm -rf "$dir"
mv "$work/made" "$dir"
