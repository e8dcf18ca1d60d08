//go:build !lab

package web

import "io/fs"

// Lab is nil: this program was built without the lab.
func Lab() fs.FS { return nil }
