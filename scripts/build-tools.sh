#!/bin/bash
# Builds containerd, its runc shim and runc, as pinned by third_party/tools/go.mod,
# into $CELLAR_CACHE/tools/bin. Needs go, gcc and libseccomp's headers.
set -euo pipefail
. "$(dirname "$0")/lib/cache.sh"

tools=$repo/third_party/tools
bin=$CELLAR_CACHE/tools/bin

# The version a pinned module has, without its leading v.
pinned() { awk -v m="$1" '$1 == m { sub(/^v/, "", $2); print $2; exit }' "$tools/go.mod"; }

only_one tools
hash=$(inputs_hash "$tools" "$0")
if up_to_date tools "$hash" "$bin"/{containerd,containerd-shim-runc-v2,runc}; then
	exit 0
fi

containerd=github.com/containerd/containerd/v2
runc=github.com/opencontainers/runc
mkdir -p "$bin"
cd "$tools"
# Written beside and renamed: a running daemon keeps the file it was started from.
build() { # NAME PACKAGE LDFLAGS [go build arguments...]
	local name=$1 package=$2 ldflags=$3
	shift 3
	say "building $name"
	nice -n 5 go build -mod=readonly -trimpath -ldflags "-s -w $ldflags" "$@" -o "$bin/.$name.new" "$package"
	mv -f "$bin/.$name.new" "$bin/$name"
}
version=-X\ $containerd/version.Version=$(pinned $containerd)
CGO_ENABLED=0 build containerd $containerd/cmd/containerd "$version"
CGO_ENABLED=0 build containerd-shim-runc-v2 $containerd/cmd/containerd-shim-runc-v2 "$version"
CGO_ENABLED=1 build runc $runc "-X main.version=$(pinned $runc)" -tags seccomp
stamp tools "$hash"
say "containerd $(pinned $containerd) and runc $(pinned $runc) are in $bin"
