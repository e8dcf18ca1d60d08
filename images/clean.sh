#!/bin/bash
# clean.sh ROOT: turns a fresh Debian root file system into one a kernel can live in, read-only.
# The same for every image; runs on the host, as root, when all packages are configured.
set -euo pipefail
root=$1

# The person in a kernel. No shadow entry: nobody logs in here.
echo 'cellar:x:1000:1000:Cellar:/home/cellar:/bin/bash' >>"$root/etc/passwd"
echo 'cellar:x:1000:' >>"$root/etc/group"
# /project, the home and /opt/cellar are mount points of a session; /cellar is the server's own.
install -d "$root"/{project,cellar,opt/cellar}
install -d -o 1000 -g 1000 "$root/home/cellar"
chown 1000:1000 "$root/project"

# A person installs into home or project, never into this file system: pip need not refuse.
rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED

# Nobody becomes another user in a kernel.
find "$root" -xdev -type f -perm /6000 -exec chmod ug-s {} +

# How this image was made is in its folder, not in its files.
rm -f "$root"/etc/apt/{apt.conf.d/99mmdebstrap,sources.list,sources.list.d/*} "$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap
rm -rf "$root"/var/cache/{apt,debconf,fontconfig,ldconfig}/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/tmp/*
rm -f "$root"/var/lib/dpkg/*-old "$root"/etc/{passwd,group,shadow,gshadow}-
: >"$root/etc/machine-id"
echo cellar >"$root/etc/hostname"
: >"$root/etc/resolv.conf"

# What dpkg leaves of the test suites it was told to leave out.
[ ! -d "$root/usr/lib/python3" ] || find "$root/usr/lib/python3" -depth -type d -path '*/tests*' -empty -delete

# With py3compile back (see prepare.sh), everything gets its bytecode: nothing can compile on a read-only root.
rm "$root/usr/bin/py3compile"
chroot "$root" dpkg-divert --quiet --local --rename --remove /usr/bin/py3compile
[ ! -x "$root/usr/bin/python3" ] || chroot "$root" python3 -m compileall -q -j 2 /usr/lib/python3
