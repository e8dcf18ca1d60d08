package acceptance

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"cellar/kernel/containerd"
)

func fmtSscan(s string, v any) (int, error) { return fmt.Sscan(s, v) }

// stateOf is the folder with a data folder's sockets.
func stateOf(data string) string { return containerd.StateDir(data) }

// groupOf is the name of a data folder's control groups.
func groupOf(data string) string {
	sum := sha256.Sum256([]byte(data))
	return "cel" + hex.EncodeToString(sum[:3])
}
