#!/bin/bash
# test-vm.sh: the product on cgroup v2: a Debian virtual machine under QEMU, without KVM, with Cellar installed in
# it as docs/howto/install.md says. scripts/vm/probe looks at it from inside; then the power is cut, and it starts again.
# Called by make test-vm, after setup and build. What it builds is kept in $CELLAR_CACHE/vm.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/cache.sh
. scripts/lib/debian.sh

suite=trixie
vm=$CELLAR_CACHE/vm
limit=${VM_LIMIT:-1500} # seconds for all that happens in the machine
memory=4096 cores=2

# Software emulation is slow: a machine of another kind would need an emulator, a kernel and firmware of its own.
[ "$(dpkg --print-architecture)" = amd64 ] || { say "not run: written for amd64, and this is $(dpkg --print-architecture)"; exit 1; }
for part in bin/cellar bin/cellar-keep "$CELLAR_CACHE"/tools/bin/{containerd,containerd-shim-runc-v2,runc,criu} "$CELLAR_CACHE/images/base.oci.tar"; do
	[ -e "$part" ] || fail "$part is missing (make setup build)"
done

only_one vm
mkdir -p "$vm"
work=$(mktemp -d "$vm/work.XXXXXX")
machine=
ended() {
	[ -z "$machine" ] || kill -9 "$machine" 2>/dev/null || true
	as_root rm -rf "$work"
}
trap ended EXIT
trap 'exit 130' INT TERM

# debian VARIANT PACKAGES OUTPUT [HOOK...]: a Debian of $suite, made from the machine's own mirrors.
debian() {
	local variant=$1 packages=$2 output=$3
	shift 3
	apt_options "$work/apt.conf"
	sources $suite security >"$work/sources.list"
	as_root env TMPDIR="$work" timeout 900 mmdebstrap --mode=root --variant="$variant" --include="$packages" \
		--keyring="$keyring" --aptopt="$work/apt.conf" --dpkgopt=force-unsafe-io "$@" \
		$suite "$output" "$work/sources.list" >"$vm/debian.log" 2>&1 ||
		{ tail -n 30 "$vm/debian.log" >&2; fail "mmdebstrap failed; all it said is in $vm/debian.log"; }
}

# The emulator. Debian 12's QEMU 7.2 lets the guest's kernel die at random, so it is always the one of $suite,
# unpacked beside and started by its own loader.
get_qemu() {
	local hash
	hash=$(printf '%s' "$suite 1" | sha256sum | cut -c1-32)
	up_to_date vm-qemu "$hash" "$vm/qemu/usr/bin/qemu-system-x86_64" && return
	say "unpacking QEMU from Debian $suite"
	as_root rm -rf "$vm/qemu"
	debian extract qemu-system-x86,qemu-utils "$vm/qemu"
	as_root chmod -R a+rX "$vm/qemu"
	stamp vm-qemu "$hash"
}

# emulator PROGRAM ARGUMENT...
emulator() {
	local libraries=$vm/qemu/usr/lib/x86_64-linux-gnu program=$1
	shift
	QEMU_MODULE_DIR=$libraries/qemu exec "$libraries/ld-linux-x86-64.so.2" --argv0 "$program" \
		--library-path "$libraries:$libraries/pulseaudio" "$vm/qemu/usr/bin/$program" "$@"
}

# The system of the machine, without Cellar.
get_system() {
	local hash
	hash=$(sed -n '/^get_system()/,/^}/p' scripts/test-vm.sh | cat - scripts/vm/system.sh | sha256sum | cut -c1-32)
	system_hash=$hash
	up_to_date vm-system "$hash" "$vm/system.tar" && return
	say "building the machine's Debian $suite"
	debian essential systemd-sysv,udev,dbus,kmod,busybox-static,linux-image-cloud-amd64,nftables,iproute2,lxcfs,fuse3,procps,ca-certificates,python3-minimal \
		"$vm/system.new.tar" \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--skip=output/dev,output/mknod \
		--customize-hook="bash '$repo/scripts/vm/system.sh' \"\$1\""
	mv "$vm/system.new.tar" "$vm/system.tar"
	stamp vm-system "$hash"
}

# store: a data folder into which the kernel image is imported already; under emulation that takes ten minutes.
# It is the one of the acceptance tests (test/acceptance/hub_test.go).
store() {
	local image=$CELLAR_CACHE/images/base.oci.tar dir
	dir=$CELLAR_CACHE/test-template/$(printf '%x-%x' "$(stat -c %s "$image")" "$(date -r "$image" +%s%N)")
	if [ ! -f "$dir/image.json" ]; then
		say "importing the kernel image" >&2
		as_root rm -rf "$CELLAR_CACHE/test-template"
		as_root install -d -m 711 "$CELLAR_CACHE/test-template" "$dir"
		as_root timeout 600 env CELLAR_CACHE="$CELLAR_CACHE" bin/cellar down --data "$dir" >&2 || fail "the kernel image cannot be imported"
	fi
	echo "$dir"
}

# The disk: the system, and Cellar in it.
get_disk() {
	local hash template root=$work/root
	CGO_ENABLED=0 go test -c -trimpath -tags vm -ldflags '-s -w' -o "$work/probe" ./scripts/vm/probe
	template=$(store)
	hash=$({
		echo "$system_hash" "$(basename "$template")"
		cat bin/cellar bin/cellar-keep "$work/probe" scripts/vm/*.sh deploy/cellar.service "$CELLAR_CACHE"/stamps/{tools,criu}
		sed -n '/^get_disk()/,/^}/p' scripts/test-vm.sh
	} | sha256sum | cut -c1-32)
	up_to_date vm-disk "$hash" "$vm"/{disk.ext4,vmlinuz,initrd} && return
	say "building the machine's disk"
	as_root rm -f "$vm/disk.ext4"
	as_root env work="$work" root="$root" cache="$CELLAR_CACHE" template="$template" bash scripts/vm/disk.sh
	as_root mke2fs -q -F -t ext4 -L cellar -d "$root" "$work/disk.ext4" 8G >/dev/null
	as_root chown "$(id -u):$(id -g)" "$work"/{disk.ext4,vmlinuz,initrd}
	mv "$work"/{disk.ext4,vmlinuz,initrd} "$vm/"
	as_root rm -rf "$root"
	stamp vm-disk "$hash"
}

# boot PHASE: starts the machine; $machine is its process. It says what it finds on its second serial line.
boot() {
	console=$vm/console.$1.log results=$vm/results.$1.log
	rm -f "$console" "$results"
	emulator qemu-system-x86_64 -L "$vm/qemu/usr/share/qemu" -L "$vm/qemu/usr/share/seabios" -accel tcg,thread=multi -cpu max -smp $cores -m $memory \
		-nodefaults -no-user-config -display none -no-reboot -serial "file:$console" -serial "file:$results" \
		-drive "file=$work/overlay.qcow2,format=qcow2,if=virtio" -kernel "$vm/vmlinuz" -initrd "$vm/initrd" \
		-append "console=ttyS0 panic=1 quiet systemd.show_status=0 mitigations=off cellar.phase=$1" </dev/null >"$vm/qemu.log" 2>&1 9>&- &
	machine=$!
}

# watch LINE: shows what the machine finds, until it says LINE. Not found: it ended, or the time is over.
watch() {
	local shown=0 lines
	while :; do
		if [ -f "$results" ]; then
			lines=$(grep -c '' "$results" || true)
			if [ "$lines" -gt "$shown" ]; then
				sed -n "$((shown + 1)),${lines}p" "$results" | tr -d '\r'
				shown=$lines
			fi
			if grep -q "^$1" "$results"; then return 0; fi
			if grep -q '^probe: end' "$results"; then return 1; fi
		fi
		if ! kill -0 "$machine" 2>/dev/null; then
			say "the machine ended by itself"
			break
		fi
		if [ $SECONDS -ge "$deadline" ]; then
			say "not done after $limit seconds"
			break
		fi
		sleep 0.2
	done
	echo "the console ends:"
	tail -n 30 "$console" 2>/dev/null | tr -d '\r' || true
	tail -n 5 "$vm/qemu.log" || true
	return 1
}

cut_power() {
	kill -9 "$machine" 2>/dev/null || true
	wait "$machine" 2>/dev/null || true
	machine=
}

get_qemu
get_system
get_disk
(emulator qemu-img create -q -f qcow2 -F raw -b "$vm/disk.ext4" "$work/overlay.qcow2")
rm -f "$vm"/*.before.log "$vm"/*.after.log "$vm"/*.storm*.log "$vm"/*.calm.log
deadline=$((SECONDS + limit))
bad=0

say "starting the machine (software emulation: minutes)"
boot before
if watch 'probe: cut the power'; then
	say "cutting the power"
	cut_power
	boot after
	watch 'probe: end' || bad=1
else
	bad=1
fi
cut_power

# The storm: the power is cut in the middle of keeping, storing, collecting, going back. STORMS rounds, at moments that STORM_SEED chooses.
RANDOM=${STORM_SEED:=$((SECONDS + $$))}
round=0
while [ $bad = 0 ] && [ $round -lt "${STORMS:-4}" ]; do
	round=$((round + 1))
	boot storm
	if watch 'probe: storm'; then
		moment=$((RANDOM % 20000 + 300)) # milliseconds
		say "cutting the power after $moment ms of storm $round (STORM_SEED=$STORM_SEED)"
		sleep "$((moment / 1000)).$(printf '%03d' $((moment % 1000)))"
	else
		bad=1
	fi
	cut_power
	cp "$results" "$vm/results.storm$round.log"
done
rm -f "$vm/results.storm.log"
if [ $bad = 0 ]; then
	boot calm
	watch 'probe: end' || bad=1
	cut_power
fi

passed=$(cat "$vm"/results.*.log 2>/dev/null | grep -c '^PASS ' || true)
failed=$(cat "$vm"/results.*.log 2>/dev/null | grep -c '^FAIL ' || true)
if [ "$failed" = 0 ] && { [ $bad != 0 ] || [ "$passed" = 0 ]; }; then
	echo "FAIL the machine did not get to its end"
	failed=1
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
