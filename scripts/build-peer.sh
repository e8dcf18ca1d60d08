#!/bin/bash
# build-peer.sh [--image]: makes $CELLAR_CACHE/peer/root, a Debian trixie with jupyter_server, its JupyterLab and client
# libraries beside the packages of our base image, so that kernels on both sides run the same code. Conformance
# checks and benchmarks compare us with it; scripts/peer.sh runs programs in it. $CELLAR_CACHE/peer/packages
# lists what came out. With --image also $CELLAR_CACHE/images/peer.oci.tar, the same as a kernel image, with the two
# kernels that JupyterLab's own tests want: echo, which is the default, and ipython.
set -euo pipefail
. "$(dirname "$0")/lib/cache.sh"
. "$(dirname "$0")/lib/debian.sh"

suite=trixie
peer=$CELLAR_CACHE/peer
list=$repo/test/peer/packages
log=$CELLAR_CACHE/peer.log

image=
for argument; do
	case $argument in
	--image) image=yes ;;
	*) fail "unknown argument $argument; usage: build-peer.sh [--image]" ;;
	esac
done

inputs() {
	printf '%s\n' "$list" "$repo/images/base/packages" "$repo"/images/{prepare,clean}.sh \
		"$repo/scripts/build-peer.sh" "$repo/scripts/lib/debian.sh"
}

packages() {
	sed -e 's/#.*//' "$list" "$repo/images/base/packages" | tr -s ' \t\n' '\n' | sed '/^$/d' | sort -u | paste -sd,
}

# lab_hook: the package jupyterlab is unpacked, not installed: it depends on hundreds of packages that only
# build its pages, which it brings built. The program's own Python packages are in the list above.
lab_hook() {
	cat >"$work/lab.sh" <<-'EOF'
		set -euo pipefail
		folder=$(mktemp -d)
		trap 'rm -rf "$folder"' EXIT
		cd "$folder"
		APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -q download jupyterlab
		dpkg-deb --extract jupyterlab_*.deb "$1"
	EOF
	printf '%s\n' "--customize-hook=bash '$work/lab.sh' \"\$1\""
}

# make_root FOLDER: what the kernel images leave out for their size (manuals, translations) is left out here too.
make_root() {
	apt_options "$work/apt.conf"
	echo 'APT::Sandbox::User "root";' >>"$work/apt.conf"
	sources $suite security >"$work/sources.list"
	as_root env TMPDIR="$work" mmdebstrap --mode=root --variant=essential --format=directory \
		--include="$(packages)" --keyring="$keyring" --aptopt="$work/apt.conf" \
		--dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/info/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--essential-hook="bash '$repo/images/prepare.sh' \"\$1\"" \
		"$(lab_hook)" \
		--customize-hook="bash '$repo/images/clean.sh' \"\$1\"" \
		--customize-hook="dpkg-query --admindir=\"\$1/var/lib/dpkg\" -W -f '\${Package} \${Version}\n' >'$work/packages'" \
		$suite "$1" "$work/sources.list" >"$log" 2>&1 ||
		{ tail -n 40 "$log" >&2; fail "mmdebstrap failed; all it said is in $log"; }
}

only_one peer
mapfile -t files < <(inputs)
hash=$(inputs_hash "${files[@]}")
build_root() {
	say "building the peer from Debian $suite"
	make_root "$work/root"
	as_root rm -rf "$peer"
	mkdir -p "$peer"
	as_root mv "$work/root" "$peer/root"
	LC_ALL=C sort "$work/packages" >"$peer/packages"
	stamp peer "$hash"
	say "the peer is in $peer/root, $(as_root du -sm "$peer/root" | cut -f 1) MB: $(grep '^python3-jupyter-server ' "$peer/packages")"
}

# kernelspec NAME LANGUAGE MODULE
kernelspec() {
	mkdir -p "$work/specs/usr/share/jupyter/kernels/$1"
	printf '{"argv": ["python3", "-m", "%s", "-f", "{connection_file}"], "display_name": "%s", "language": "%s"}\n' "$3" "$1" "$2" \
		>"$work/specs/usr/share/jupyter/kernels/$1/kernel.json"
}

build_image() {
	say "making a kernel image of the peer"
	kernelspec echo echo jupyterlab.tests.echo_kernel
	kernelspec ipython python ipykernel_launcher
	as_root tar --create --one-file-system --numeric-owner --directory="$peer/root" --exclude=./usr/share/jupyter/kernels \
		--exclude='./proc/*' --exclude='./sys/*' . >"$work/layer.tar"
	tar --append --file="$work/layer.tar" --owner=0 --group=0 --directory="$work/specs" ./usr/share/jupyter/kernels
	mkdir -p "$CELLAR_CACHE/images"
	(cd "$repo" && go run ./images/ociwrite -layer "$work/layer.tar" -config images/base/config.json \
		-name cellar/peer:1 -arch "$(dpkg --print-architecture)" -out "$CELLAR_CACHE/images/peer.oci.tar")
	stamp peer-image "$hash"
}

root_there() { up_to_date peer "$hash" "$peer/root/usr/bin/jupyter-server" "$peer/packages"; }
image_there() { [ -z "$image" ] || up_to_date peer-image "$hash" "$CELLAR_CACHE/images/peer.oci.tar"; }

! root_there || ! image_there || exit 0
mkdir -p "$CELLAR_CACHE"
work=$(mktemp -d "$CELLAR_CACHE/peer.XXXXXX")
trap 'as_root rm -rf "$work"' EXIT
chmod 755 "$work"
root_there || build_root
image_there || build_image
