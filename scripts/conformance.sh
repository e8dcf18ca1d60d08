#!/bin/bash
# conformance.sh [ARGUMENT...]: the same checks on jupyter_server and on Cellar, in two columns; see
# docs/howto/conformance.md. Called by make conformance, after setup and build. Arguments go to test/conformance
# (-only PATTERN, -side jupyter_server|cellar, -v). JUPYTERLAB_SOURCE=FOLDER, a checkout of JupyterLab, adds the
# tests of @jupyterlab/services; with GALATA too it adds JupyterLab's UI tests.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/cache.sh

: "${JUPYTERLAB_SOURCE:=}" "${GALATA:=}"
scripts/build-peer.sh ${JUPYTERLAB_SOURCE:+--image}
[ -z "$GALATA" ] || scripts/setup.sh --test # a browser
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/conformance" ./test/conformance
if [ "$(id -u)" = 0 ]; then root=(env)
elif command -v sudo >/dev/null; then root=(sudo env)
else fail "needs root (or sudo): both servers run in containers"
fi
"${root[@]}" "PATH=$PATH" "CELLAR_CACHE=$CELLAR_CACHE" "JUPYTERLAB_SOURCE=$JUPYTERLAB_SOURCE" "GALATA=$GALATA" \
	"$work/conformance" "$@"
