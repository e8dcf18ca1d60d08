#!/bin/bash
# setup.sh [--test]: makes a Debian machine with go, node and npm ready to build and run Cellar: installs the
# packages it needs, then builds containerd, runc, criu and the base image into $CELLAR_CACHE (default .cache).
# --test adds what only the tests need. Run it again at any time: what is up to date is left alone.
set -euo pipefail
here=$(dirname "$0")
. "$here/lib/cache.sh"
. "$here/lib/debian.sh"

packages=(
	ca-certificates debian-archive-keyring # to trust what is fetched
	gcc libc6-dev libseccomp-dev pkg-config # cgo: runc, sqlite
	mmdebstrap patchelf xz-utils zstd       # images, the private criu
	fuse3 iproute2 lxcfs nftables           # at run time, around the kernels
)
for argument; do
	case $argument in
	--test) packages+=(chromium curl fonts-dejavu-core) ;;
	*) fail "unknown argument $argument; usage: setup.sh [--test]" ;;
	esac
done

# install PACKAGE...: from the machine's apt. An update that misses one source may still find them all.
install() {
	local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
	say "installing $*"
	as_root "${apt[@]}" update || say "apt-get update failed, going on with what is known"
	as_root "${apt[@]}" install -y --no-install-recommends "$@"
}

only_one setup
missing=()
installed "${packages[@]}" || for package in "${packages[@]}"; do
	installed "$package" || missing+=("$package")
done
[ ${#missing[@]} = 0 ] || install "${missing[@]}"
for program in go node npm; do
	command -v $program >/dev/null || say "warning: no $program on PATH; building Cellar needs it"
done

"$here/build-tools.sh"
"$here/fetch-criu.sh"
"$here/build-image.sh" base
