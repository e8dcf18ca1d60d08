// Package support holds what Cellar brings into every kernel container besides
// the keeper: a launcher and an extension for IPython kernels, in Python. It
// only carries the files; it knows nothing of containers.
package support

import "embed"

// Files is the tree below python/, to be laid out at /opt/cellar/python.
//
// all: takes __init__.py too.
//
//go:embed all:python
var Files embed.FS
