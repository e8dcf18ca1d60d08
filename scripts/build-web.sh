#!/bin/sh
# Builds web/lab/dist when its sources have changed since.
set -eu
cd "$(dirname "$0")/../web/lab"
sum=$(find . -path ./node_modules -prune -o -path ./dist -prune -o -path ./build -prune -o -type f -print | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1)
if [ -f dist/manifest.json ] && [ "$(cat dist/.sources 2>/dev/null)" = "$sum" ]; then
	exit 0
fi
echo "building JupyterLab (a minute or two)"
locked=$(sha256sum package-lock.json | cut -d' ' -f1)
if [ "$(cat node_modules/.locked 2>/dev/null)" != "$locked" ]; then
	npm ci --legacy-peer-deps --ignore-scripts --no-audit --no-fund --loglevel=error
	echo "$locked" >node_modules/.locked
fi
npm run --silent build
echo "$sum" >dist/.sources
