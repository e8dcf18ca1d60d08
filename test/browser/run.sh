#!/bin/sh
# Runs the browser checks; fetches what they need, and with --fetch does no more. Arguments go to run.cjs; with --load URL, to load.cjs.
set -eu
cd "$(dirname "$0")"
if [ ! -d node_modules/playwright-core ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
	npm ci --no-audit --no-fund --loglevel=error
fi
if [ "${1:-}" = --fetch ]; then
	exit
fi
if [ "${1:-}" = --load ]; then
	shift
	exec node load.cjs "$@"
fi
exec node run.cjs "$@"
