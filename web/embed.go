//go:build lab

// Package web carries the built JupyterLab inside the program, when it was built
// with the tag lab.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:lab/dist
var files embed.FS

// Lab is the built lab.
func Lab() fs.FS {
	sub, err := fs.Sub(files, "lab/dist")
	if err != nil {
		return nil
	}
	return sub
}
