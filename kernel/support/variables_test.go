package support

import (
	"bytes"
	"os/exec"
	"testing"
)

// TestVariables: lists are right, bounded, and run nothing of the person's.
func TestVariables(t *testing.T) {
	out, err := exec.Command("python3", "testdata/hostile.py").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := bytes.Count(out, []byte("ok test_")); n != 8 {
		t.Errorf("%d tests ran, want 8:\n%s", n, out)
	}
}
