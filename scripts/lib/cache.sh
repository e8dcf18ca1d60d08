# Sourced by the scripts: where built things go, and when they need to be built again.
# Knows nothing of what is built.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${CELLAR_CACHE:=$repo/.cache}"
case $CELLAR_CACHE in /*) ;; *) CELLAR_CACHE=$PWD/$CELLAR_CACHE ;; esac
export CELLAR_CACHE

say()  { printf '%s: %s\n' "${0##*/}" "$*"; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# as_root COMMAND...: runs it as root, through sudo when we are not. What it leaves running (a package's
# service) must not hold our lock.
as_root() {
	if [ "$(id -u)" = 0 ]; then "$@" 9>&-
	elif command -v sudo >/dev/null; then sudo "$@" 9>&-
	else fail "needs root (or sudo) for: $*"
	fi
}

# inputs_hash PATH...: one hash over the names and bytes of these files (folders: all files below).
# Names are taken relative to the repository, so that a moved checkout stays up to date.
inputs_hash() {
	(cd "$repo" && find "${@#"$repo"/}" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-32)
}

# up_to_date NAME HASH OUTPUT...: the stamp says HASH and every output is there.
up_to_date() {
	local stamp=$CELLAR_CACHE/stamps/$1 hash=$2 output
	shift 2
	[ -f "$stamp" ] && [ "$(<"$stamp")" = "$hash" ] || return 1
	for output in "$@"; do [ -e "$output" ] || return 1; done
}

# stamp NAME HASH: written last, when the outputs are in place.
stamp() {
	mkdir -p "$CELLAR_CACHE/stamps"
	printf '%s\n' "$2" >"$CELLAR_CACHE/stamps/$1"
}

# only_one NAME: waits until no other run of the same script works in this cache; holds until exit.
only_one() {
	mkdir -p "$CELLAR_CACHE/stamps"
	exec 9>"$CELLAR_CACHE/stamps/$1.lock" # 9: see as_root
	flock 9
}
