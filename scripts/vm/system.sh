#!/bin/bash
# system.sh ROOT: what the virtual machine's Debian needs beside its packages.
set -euo pipefail
root=$1

echo cellar-vm >"$root/etc/hostname"
echo '127.0.0.1 localhost cellar-vm' >"$root/etc/hosts"
echo '/dev/vda / ext4 rw 0 1' >"$root/etc/fstab"
: >"$root/etc/machine-id"
# Nobody signs in, nothing is fetched; Cellar starts an lxcfs of its own.
chroot "$root" systemctl --quiet mask lxcfs.service getty@tty1.service serial-getty@ttyS0.service apt-daily.timer \
	apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-timesyncd.service
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/tmp/*
