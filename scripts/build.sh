#!/bin/sh
# Builds bin/cellar (with the lab in it) and bin/cellar-keep (small and static).
set -eu
cd "$(dirname "$0")/.."
version=${1:-dev}
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o bin/cellar-keep ./cmd/cellar-keep
CGO_ENABLED=1 go build -trimpath -tags lab -ldflags "-s -w -X main.version=$version" -o bin/cellar ./cmd/cellar
