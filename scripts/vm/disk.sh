#!/bin/bash
# disk.sh: lays out the virtual machine's disk in $root: Debian, and Cellar as docs/howto/install.md installs it.
# Takes $work (gets vmlinuz and initrd), $cache (Cellar's) and $template (a data folder with the image). Run as root
# by test-vm.sh, in the repository.
set -euo pipefail

mkdir "$root"
tar -x --numeric-owner --xattrs --xattrs-include='*' -f "$work/../system.tar" -C "$root"
mkdir -p "$root"/{dev,proc,sys,run,tmp}

local=$root/usr/local
install -m 0755 bin/cellar bin/cellar-keep "$local/bin/"
install -d "$local/lib/cellar/tools" "$root/etc/cellar"
cp -aL "$cache/tools/bin" "$local/lib/cellar/tools/"
[ ! -d "$cache/tools/criu" ] || cp -a "$cache/tools/criu" "$local/lib/cellar/tools/"
install -m 0644 deploy/cellar.service "$root/etc/systemd/system/"
echo '{"data": "/var/lib/cellar", "listen": "127.0.0.1:8888", "store_after": "1s"}' >"$root/etc/cellar/config.json"

# The image lies in containerd's store already. Linked: the same bytes, read only.
install -d -m 0711 "$root/var/lib/cellar"
cp -al "$template/containerd" "$template/image.json" "$root/var/lib/cellar/"
rm -f "$root/var/lib/cellar/containerd/containerd.log"

install -m 0755 "$work/probe" "$local/lib/cellar/probe"
install -m 0755 scripts/vm/probe.sh "$local/lib/cellar/probe.sh"
cat >"$root/etc/systemd/system/probe.service" <<-'UNIT'
	[Unit]
	Description=Looks at Cellar from inside
	After=basic.target
	[Service]
	Type=oneshot
	ExecStart=/usr/local/lib/cellar/probe.sh
	[Install]
	WantedBy=multi-user.target
UNIT
ln -s ../probe.service "$root/etc/systemd/system/multi-user.target.wants/"

# A small initrd: Debian's own takes a minute under emulation. The kernel needs a driver for its disk, no more.
kernel=$(basename "$root"/lib/modules/*)
cp "$root/boot/vmlinuz-$kernel" "$work/vmlinuz"
initrd=$work/initrd.d
mkdir -p "$initrd"/{dev,proc,sys,root,modules}
cp "$root/usr/bin/busybox" "$initrd/busybox"
number=0
for module in virtio_pci virtio_blk ext4; do
	chroot "$root" modprobe --set-version "$kernel" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
	number=$((number + 1))
	name=$(printf '%s/modules/%02d.ko' "$initrd" $number)
	case $file in
	*.xz) xz -dc "$root$file" >"$name" ;;
	*.zst) zstd -qdc "$root$file" >"$name" ;;
	*) cp "$root$file" "$name" ;;
	esac
done
cat >"$initrd/init" <<-'INIT'
	#!/busybox sh
	/busybox mount -t devtmpfs dev /dev
	for module in /modules/*.ko; do /busybox insmod $module; done
	for try in 1 2 3 4 5 6 7 8 9 10; do
		[ -b /dev/vda ] && break
		/busybox sleep 1
	done
	/busybox mount -t ext4 /dev/vda /root || exec /busybox poweroff -f
	exec /busybox switch_root /root /sbin/init
INIT
chmod 755 "$initrd/init"
(cd "$initrd" && find . | "$root/usr/bin/busybox" cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/initrd"
