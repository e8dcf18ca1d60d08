// Package tour carries the notebook that a new project begins with.
package tour

import (
	_ "embed"
	"os"
	"path/filepath"
)

//go:embed tour.ipynb
var notebook []byte

// Write puts the tour into dir.
func Write(dir string) error {
	return os.WriteFile(filepath.Join(dir, "tour.ipynb"), notebook, 0o644)
}
