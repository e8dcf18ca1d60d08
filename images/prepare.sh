#!/bin/bash
# prepare.sh ROOT: run when the bare Debian stands, before the image's packages are installed. clean.sh undoes it.
set -euo pipefail
root=$1

# Python's packages each compile themselves as they are configured: minutes. clean.sh compiles all at once.
chroot "$root" dpkg-divert --quiet --local --rename --divert /usr/bin/py3compile.real --add /usr/bin/py3compile
ln -s true "$root/usr/bin/py3compile"
