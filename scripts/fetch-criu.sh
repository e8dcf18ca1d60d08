#!/bin/bash
# Puts a CRIU that can freeze our kernels at $CELLAR_CACHE/tools/bin/criu: the machine's own where it is
# new enough and works here, else a private copy from a newer Debian, with its libraries and loader.
set -euo pipefail
. "$(dirname "$0")/lib/cache.sh"
. "$(dirname "$0")/lib/debian.sh"

wanted=4.2
suite=forky
criu=$CELLAR_CACHE/tools/bin/criu
private=$CELLAR_CACHE/tools/criu

version_of() { "$1" --version 2>/dev/null | sed -n 's/^Version: *v\{0,1\}//p'; }
works()      { as_root timeout 20 "$1" check >/dev/null 2>&1; }

new_enough() {
	local have
	have=$(version_of "$1")
	[ -n "$have" ] && dpkg --compare-versions "$have" ge "$wanted"
}

# machines_own: the path of the machine's criu, when it will do. Other than ours when that is on PATH.
machines_own() {
	local path
	path=$(PATH=$PATH:/usr/sbin:/sbin type -P criu) || return 1
	[ "$(readlink -f "$path")" != "$(readlink -f "$criu")" ] &&
		new_enough "$path" && works "$path" && echo "$path"
}

# unpack_private: criu and the libraries it names, out of Debian $suite, in one flat folder.
unpack_private() {
	local root loader libraries
	work=$(mktemp -d "$CELLAR_CACHE/criu.XXXXXX")
	trap 'as_root rm -rf "$work"' EXIT
	root=$work/root
	apt_options "$work/apt.conf"
	sources $suite >"$work/sources.list"
	TMPDIR=$work as_root mmdebstrap --quiet --mode=root --variant=extract --include=criu \
		--aptopt="$work/apt.conf" --keyring="$keyring" $suite "$root" "$work/sources.list"
	as_root chmod -R a+rX "$root"

	mkdir -p "$work"/criu/{lib,doc}
	cp "$root/usr/sbin/criu" "$work/criu/criu"
	libraries=$(dirname "$(find "$root/usr/lib" -name libc.so.6)")
	loader=$libraries/$(basename "$(patchelf --print-interpreter "$work/criu/criu")")
	cp -L "$loader" "$work/criu/lib/ld.so"
	"$loader" --library-path "$libraries" --list "$work/criu/criu" | awk '$2 == "=>" { print $3 }' |
		xargs cp -L -t "$work/criu/lib"
	(cd "$root/usr/share/doc" && cp --parents */copyright "$work/criu/doc/")
	rm -rf "$private"
	mv "$work/criu" "$private"
}

# The loader is named on the command line, so that the folder can be moved; only criu itself, not what it
# starts (nft, iptables, tar), sees these libraries.
write_wrapper() {
	cat >"$criu.new" <<-'WRAPPER'
		#!/bin/sh
		# Starts the private criu with its own loader and libraries.
		self=$(readlink -f "$0")
		home=${self%/bin/criu}/criu
		exec "$home/lib/ld.so" --argv0 criu --library-path "$home/lib" "$home/criu" "$@"
	WRAPPER
	chmod 755 "$criu.new"
	mv -f "$criu.new" "$criu"
}

only_one criu
hash=$(inputs_hash "$0")
if up_to_date criu "$hash" "$criu"; then
	exit 0
fi
mkdir -p "${criu%/*}"
if own=$(machines_own); then
	say "the machine's own $own will do"
	ln -sf "$own" "$criu"
else
	say "unpacking criu from Debian $suite"
	unpack_private
	write_wrapper
fi
new_enough "$criu" || fail "criu at $criu is $(version_of "$criu"), $wanted or newer is needed"
works "$criu" || say "warning: 'criu check' fails on this machine: kernels cannot be frozen here"
stamp criu "$hash"
say "criu $(version_of "$criu") is at $criu"
