#!/bin/bash
# test.sh [unit|containers|browser|fuzz]...: the tests this machine can run, in tiers; without arguments all of them.
# What it cannot run it names, with the reason. Called by make test, after setup and build. FUZZTIME=5s for each fuzzer.
# With CELLAR_CI set, a tier that was not run is a failure.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/cache.sh

work=$(mktemp -d)

# root: what runs a command as root. Kernels need it; the rest of the tests is built and run by whoever we are.
root=()
[ "$(id -u)" = 0 ] || root=(sudo -n env "PATH=$PATH:/usr/sbin:/sbin" "CELLAR_CACHE=$CELLAR_CACHE" "CELLAR_CI=${CELLAR_CI:-}" CELLAR_TEST_CONTAINERS=1 "CELLAR_COMMUTE=${CELLAR_COMMUTE:-60}"
	"GOMODCACHE=$(go env GOMODCACHE)" "GOCACHE=$work/gocache" "GOFLAGS=$(go env GOFLAGS)")
trap '"${root[@]}" rm -rf "$work"' EXIT # root has built there, too

counts=$work/counts
: >"$counts"
left_out=()
go build -o "$work/testcount" ./scripts/testcount || exit 1

tier() { printf '\n== tier: %s\n' "$1"; }

# count PASSED FAILED [SKIPPED]
count() { echo "$1" "$2" "${3:-0}" >>"$counts"; }

# leave_out TIER REASON: says that a tier cannot be run here.
leave_out() {
	echo "not run: $2"
	left_out+=("$1: $2")
	[ -z "${CELLAR_CI:-}" ] || count 0 1
}

# gotest ARGUMENT...: go test, counted. It counts as a failure when go itself fails without saying which test did.
gotest() {
	local before after
	before=$(wc -l <"$counts")
	go test -json "$@" 2>&1 | "$work/testcount" "$counts"
	local status=("${PIPESTATUS[@]}")
	after=$(wc -l <"$counts")
	if [ "$after" = "$before" ] || { [ "${status[0]}" != 0 ] && [ "${status[1]}" = 0 ]; }; then
		echo "go test ended with status ${status[0]}"
		count 0 1
	fi
}

unit() {
	tier unit
	gotest -timeout 5m ./...
}

# why_no_containers: the first thing that keeps this machine from running kernels; nothing when all is there.
why_no_containers() {
	local part
	if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
		echo "containers need root, and this is user $(id -un), for whom sudo does not work without asking"
		return
	fi
	[ -e /sys/fs/cgroup ] || { echo "there are no control groups at /sys/fs/cgroup"; return; }
	for part in tools/bin/{containerd,containerd-shim-runc-v2,runc,criu} images/base.oci.tar; do
		[ -e "$CELLAR_CACHE/$part" ] || { echo "$CELLAR_CACHE/$part is missing (make setup)"; return; }
	done
	"${root[@]}" timeout 20 unshare --mount --pid --fork true 2>/dev/null || echo "this process may not make namespaces"
}

# leave_out_images: names the kernel images that are not built. Their tests are left out; as nobody needs every
# image, that is no failure, with CELLAR_CI neither.
leave_out_images() {
	local each
	for each in images/*/packages; do
		each=$(basename "$(dirname "$each")")
		[ -e "$CELLAR_CACHE/images/$each.oci.tar" ] || left_out+=("containers, image $each: it is not built (make image IMAGE=$each)")
	done
}

containers() {
	tier containers
	local why
	why=$(why_no_containers)
	if [ -n "$why" ]; then
		leave_out containers "$why"
		return
	fi
	leave_out_images
	CELLAR_TEST_CONTAINERS=1 gotest -exec "${root[*]}" -count 1 -p 1 -timeout 60m ./kernel/containerd ./test/...
	# What the unit tier left out, where that was not run by root.
	[ ${#root[@]} = 0 ] || gotest -exec "${root[*]}" -count 1 -timeout 5m ./kernel/pager ./machine ./server ./server/jupyter/contents
}

browser() {
	tier browser
	local why part
	why=$(why_no_containers)
	[ -f test/browser/run.cjs ] || why="test/browser/run.cjs is not there"
	for part in node chromium; do
		command -v $part >/dev/null || why="there is no $part on PATH"
	done
	[ -x bin/cellar ] || why="bin/cellar is missing (make build)"
	if [ -n "$why" ]; then
		leave_out browser "$why"
		return
	fi
	sh test/browser/run.sh --fetch || { echo "what the browser checks need could not be fetched"; count 0 1; return; }
	timeout 1500 "${root[@]}" sh test/browser/run.sh 2>&1 | tee "$work/browser"
	local status=${PIPESTATUS[0]} ok bad
	ok=$(grep -c '^ok ' "$work/browser")
	bad=$(grep -c '^FAIL ' "$work/browser")
	[ "$status" = 0 ] || [ "$bad" != 0 ] || { echo "the browser checks ended with status $status"; bad=1; }
	[ "$ok" != 0 ] || [ "$bad" != 0 ] || { echo "no check was made"; bad=1; }
	count "$ok" "$bad"
}

# fuzzers: "PACKAGE FUNCTION" of every fuzzer there is.
fuzzers() {
	grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' --exclude-dir={node_modules,.cache,data,bench,third_party} . | while read -r file; do
		sed -nE "s,^func (Fuzz[A-Za-z0-9_]+)\\(.*,./$(dirname "${file#./}") \\1,p" "$file"
	done | LC_ALL=C sort
}

# ended_late FUNCTION: whether all that a fuzzer failed in is to end in time, as it may on a busy machine: Go's coordinator then takes the end
# of -fuzztime for a failure (go.dev/issue/75804, before Go 1.27). An input that fails is always written down and named.
ended_late() {
	! grep -q 'Failing input written' "$work/fuzz" &&
		grep -A 1 -- "^--- FAIL: $1 " "$work/fuzz" | tail -n 1 | grep -qx '    context deadline exceeded' &&
		[ "$(grep -c '^--- FAIL' "$work/fuzz")" = 1 ] && ! grep -q '^panic:' "$work/fuzz"
}

fuzz() {
	tier fuzz
	local package function
	while read -r package function; do
		if timeout 300 go test -run '^$' -fuzz "^$function\$" -fuzztime "${FUZZTIME:-5s}" -fuzzminimizetime 1x "$package" >"$work/fuzz" 2>&1; then
			echo "ok    $package $function: $(grep -o 'execs: [0-9]*' "$work/fuzz" | tail -n 1)"
			count 1 0
		elif ended_late "$function"; then
			echo "ok    $package $function: $(grep -o 'execs: [0-9]*' "$work/fuzz" | tail -n 1), ended late (go.dev/issue/75804)"
			count 1 0
		else
			cat "$work/fuzz"
			echo "FAIL  $package $function"
			count 0 1
		fi
	done < <(fuzzers)
}

[ $# != 0 ] || set -- unit containers browser fuzz
for each; do
	case $each in
	unit | containers | browser | fuzz) "$each" ;;
	*) fail "unknown tier $each; there are: unit containers browser fuzz" ;;
	esac
done

echo
for each in "${left_out[@]}"; do echo "not run: $each"; done
read -r passed failed skipped < <(awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }' "$counts")
[ "$skipped" = 0 ] || echo "$skipped tests were skipped; each says why above"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
