#!/bin/bash
# peer.sh [--bind FOLDER PLACE]... [--root] COMMAND...: runs a program in the root that build-peer.sh made, as the
# user of our kernel images (uid 1000; with --root as root). It has its own processes, and its own empty /tmp, home
# and /project, which are gone afterwards; the machine's network, /dev/pts and /dev/shm are shared. FOLDER
# of this machine appears at PLACE. Needs root. SIGTERM to the process group asks the program to end; when
# this process is killed, everything in there ends with it. PEER_ENV holds further variables, as "A=b C=d".
set -euo pipefail
. "$(dirname "$0")/lib/cache.sh"

root=$CELLAR_CACHE/peer/root
binds=() user=1000:1000
while [ $# != 0 ]; do
	case $1 in
	--bind)
		[ $# -ge 3 ] || fail "--bind wants a folder and a place"
		binds+=("$(realpath "$2")" "$3")
		shift 3
		;;
	--root) user=0:0; shift ;;
	--) shift; break ;;
	-*) fail "unknown option $1" ;;
	*) break ;;
	esac
done
[ $# != 0 ] || fail "usage: peer.sh [--bind FOLDER PLACE]... [--root] COMMAND..."
[ "$(id -u)" = 0 ] || fail "needs root"
[ -x "$root/usr/bin/jupyter-server" ] || fail "there is no peer at $root (scripts/build-peer.sh)"

# In the new namespaces: process 1 mounts, starts the program, passes signals on to it and waits for orphans.
inside='
set -eu
root=$1 user=$2 binds=$3
shift 3
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
for place in tmp run project home/cellar root; do mount -t tmpfs -o mode=755 tmpfs "$root/$place"; done
chmod 1777 "$root/tmp"
chown 1000:1000 "$root/project" "$root/home/cellar"
while [ "$binds" != 0 ]; do
	mkdir -p "$root/$2"
	mount --rbind "$1" "$root/$2"
	shift 2
	binds=$((binds - 1))
done
home=/home/cellar
[ "$user" != 0:0 ] || home=/root
chroot --userspec="$user" "$root" env -i PATH=/usr/local/bin:/usr/bin:/bin HOME="$home" LANG=C.UTF-8 \
	TERM=xterm USER=cellar ${PEER_ENV:-} sh -c "cd /project && exec \"\$@\"" sh "$@" <&0 &
child=$!
trap "kill -TERM $child 2>/dev/null || :" TERM INT
status=0
while kill -0 $child 2>/dev/null; do status=0; wait $child || status=$?; done
exit $status
'
exec unshare --mount --propagation private --pid --fork --kill-child \
	bash -c "$inside" peer "$root" "$user" $((${#binds[@]} / 2)) "${binds[@]}" "$@"
