#!/bin/sh
# Prints the figures of docs/bench.md: benchmarks through the public API, then the
# ZeroMQ reader beside the library it replaces. Feed the output to benchstat.
set -eu
cd "$(dirname "$0")/.."
echo "machine: $(nproc) cores, $(awk '/MemTotal/ {printf "%.0f GiB", $2/1048576}' /proc/meminfo), Linux $(uname -r)"
echo "commit: $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
CELLAR_TEST_CONTAINERS=1 go test -run '^$' -bench "${BENCH:-.}" -benchtime 1x -timeout 60m ./test/acceptance
go test -run '^$' -bench . ./kernel/wire
(cd bench/zmq && go test -run '^$' -bench . -count 3 .)
