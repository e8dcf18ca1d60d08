//go:build tools

// Package tools pins the programs Cellar runs beside itself: containerd, its runc shim, and runc.
// It is a module of its own so that their dependencies stay out of Cellar's.
package tools

import (
	_ "github.com/containerd/containerd/v2/cmd/containerd"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
	_ "github.com/opencontainers/runc"
)
