#!/bin/bash
# check.sh: all that can be said of the sources without containers: format, vet, linter, tests with the race detector,
# module files, shell scripts, the web parts' types. Every check is made; the sum says which failed.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/cache.sh

failed=()

# check NAME COMMAND...: what the command prints is shown when it fails.
check() {
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		echo "ok    $name"
	else
		printf '%s\nFAIL  %s\n' "$out" "$name"
		failed+=("$name")
	fi
}

tracked() { git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do [ ! -f "$file" ] || echo "$file"; done; }

formatted() { [ -z "$(tracked '*.go' | xargs gofmt -l | tee /dev/stderr)" ]; }

# lint: staticcheck, as pinned by third_party/lint.
lint() {
	local bin=$CELLAR_CACHE/tools/lint
	mkdir -p "$bin"
	(cd third_party/lint && go build -mod=readonly -o "$bin/staticcheck" honnef.co/go/tools/cmd/staticcheck) && "$bin/staticcheck" ./...
}

tidy() {
	local folder
	for folder in . third_party/tools third_party/lint bench/zmq; do
		(cd "$folder" && go mod tidy -diff) || { echo "$folder: run go mod tidy" >&2; return 1; }
	done
}

shells() {
	local file bad=0
	while read -r file; do
		case $(head -n 1 "$file") in
		'#!/bin/sh') sh -n "$file" || bad=1 ;;
		*) bash -n "$file" || bad=1 ;; # what is sourced, by bash
		esac
	done < <(tracked 'scripts/*.sh' 'images/*.sh' 'test/*.sh' .ci/run)
	return $bad
}

types() { (cd web/lab && npm run --silent check); }

check format formatted
check vet go vet ./...
check lint lint
check race nice -n 5 go test -race -timeout 10m ./...
check modules tidy
check shell shells
if [ -d web/lab/node_modules ]; then
	check types types
else
	echo "not checked: types (web/lab/node_modules is missing; make web)"
fi
if [ ${#failed[@]} != 0 ]; then
	echo "failed: ${failed[*]}"
	exit 1
fi
