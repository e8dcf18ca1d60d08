#!/bin/bash
# build-image.sh NAME [--update-lock]: builds images/NAME as an OCI layout, $CELLAR_CACHE/images/NAME.oci.tar.
# images/NAME holds: packages (Debian names; "@other" takes in another image's list), packages.lock (the
# versions of the last accepted build), version, config.json (OCI config section), and optionally customize.sh.
set -euo pipefail
. "$(dirname "$0")/lib/cache.sh"
. "$(dirname "$0")/lib/debian.sh"

suite=trixie
name= update_lock=
for argument; do
	case $argument in
	--update-lock) update_lock=yes ;;
	-*) fail "unknown option $argument" ;;
	*) name=$argument ;;
	esac
done
folder=$repo/images/$name
[ -n "$name" ] && [ -f "$folder/packages" ] || fail "usage: build-image.sh NAME [--update-lock]; NAME is one of: $(cd "$repo/images" && echo */packages | sed 's,/packages,,g')"

out=$CELLAR_CACHE/images/$name.oci.tar
lock=$folder/packages.lock
drift=$CELLAR_CACHE/images/$name.drift
log=$CELLAR_CACHE/images/$name.log
have=$CELLAR_CACHE/images/$name.packages

# lineage NAME: the image and those it takes in, one name a line.
lineage() {
	local other
	echo "$1"
	for other in $(sed -n 's/^@//p' "$repo/images/$1/packages"); do lineage "$other"; done
}

# The inputs of the build. The lock is none: it says what came out.
inputs() {
	local each
	for each in $(lineage "$name" | sort -u); do
		find "$repo/images/$each" -type f ! -name packages.lock ! -name "*.md"
	done
	echo "$repo"/images/{prepare,clean}.sh "$repo"/images/ociwrite/*.go "$repo/scripts/build-image.sh" "$repo/scripts/lib/debian.sh" | tr ' ' '\n'
}

packages() {
	local each
	for each in $(lineage "$name"); do
		sed -e 's/#.*//' -e '/^@/d' "$repo/images/$each/packages"
	done | tr -s ' \t\n' '\n' | sed '/^$/d' | sort -u | paste -sd,
}

# config_file: the image's own, else that of the image it takes in.
config_file() {
	local each
	for each in $(lineage "$name"); do
		[ ! -f "$repo/images/$each/config.json" ] || { echo "$repo/images/$each/config.json"; return; }
	done
	fail "no config.json for $name"
}

# customize_hooks: clean.sh, then each customize.sh, of the images taken in first.
customize_hooks() {
	local each
	for each in $(lineage "$name" | tac); do
		[ ! -f "$repo/images/$each/customize.sh" ] || printf '%s\n' "--customize-hook=bash '$repo/images/$each/customize.sh' \"\$1\""
	done
	printf '%s\n' "--customize-hook=bash '$repo/images/clean.sh' \"\$1\""
}

# make_layer FILE: the root file system, as a tar. Licences stay; manuals, translations and test suites do not.
make_layer() {
	local hooks
	mapfile -t hooks < <(customize_hooks)
	apt_options "$work/apt.conf"
	sources $suite security >"$work/sources.list"
	as_root env TMPDIR="$work" mmdebstrap --mode=root --variant=essential --format=tar \
		--include="$(packages)" --keyring="$keyring" --aptopt="$work/apt.conf" \
		--dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/info/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--dpkgopt='path-exclude=/usr/share/unicode/*' \
		--dpkgopt='path-exclude=/usr/lib/python3/dist-packages/*/tests/*' \
		--dpkgopt='path-include=/usr/lib/python3/dist-packages/numpy/_core/tests/_natype.py' \
		--essential-hook="bash '$repo/images/prepare.sh' \"\$1\"" \
		--skip=output/dev,output/mknod \
		"${hooks[@]}" \
		--customize-hook="dpkg-query --admindir=\"\$1/var/lib/dpkg\" -W -f '\${Package} \${Version}\n' >'$work/packages'" \
		$suite - "$work/sources.list" >"$1" 2>"$log" ||
		{ tail -n 40 "$log" >&2; fail "mmdebstrap failed; all it said is in $log"; }
	# mmdebstrap leaves /dev out together with its device nodes; a container needs the folder.
	install -d "$work/empty/dev"
	tar --append --file="$1" --directory="$work/empty" --owner=0 --group=0 ./dev
}

# compare_lock: prints what differs from the lock by name, and keeps it in $drift (empty: nothing does).
compare_lock() {
	awk 'NR == FNR { old[$1] = $2; next }
		{ new[$1] = $2 }
		END {
			for (p in old) if (!(p in new)) print "drift: " p " " old[p] " -> absent"
			for (p in new) if (!(p in old)) print "drift: " p " absent -> " new[p]
			for (p in new) if (p in old && old[p] != new[p]) print "drift: " p " " old[p] " -> " new[p]
		}' "$lock" "$have" | LC_ALL=C sort >"$drift"
}

report_lock() {
	if [ -n "$update_lock" ] || [ ! -f "$lock" ]; then
		cp "$have" "$lock"
		say "wrote images/$name/packages.lock: $(wc -l <"$lock") packages"
	fi
	compare_lock
	[ -s "$drift" ] || return 0
	cat "$drift"
	say "$(wc -l <"$drift") packages of image $name differ from images/$name/packages.lock (kept in $drift; --update-lock accepts them)"
}

only_one "image-$name"
mkdir -p "$CELLAR_CACHE/images"
mapfile -t files < <(inputs)
hash=$(inputs_hash "${files[@]}")
if up_to_date "image-$name" "$hash" "$out" "$have"; then
	report_lock
	exit 0
fi

work=$(mktemp -d "$CELLAR_CACHE/image.XXXXXX")
trap 'as_root rm -rf "$work"' EXIT
say "building image $name from Debian $suite"
make_layer "$work/layer.tar"
(cd "$repo" && go run ./images/ociwrite -layer "$work/layer.tar" -config "$(config_file)" \
	-name "cellar/$name:$(<"$folder/version")" -arch "$(dpkg --print-architecture)" -out "$out")
LC_ALL=C sort "$work/packages" >"$have"
stamp "image-$name" "$hash"
say "cellar/$name:$(<"$folder/version") is in $out, $(($(stat -c %s "$out") / 1000000)) MB"
report_lock
