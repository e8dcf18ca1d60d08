// Package testkit finds what tests need on the machine: the project's own
// tools and images, and whether this process may run containers.
package testkit

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Root is the top of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Cache is the folder with built tools and images.
func Cache() string {
	if dir := os.Getenv("CELLAR_CACHE"); dir != "" {
		return dir
	}
	return filepath.Join(Root(), ".cache")
}

// Tools is the folder with containerd, runc and criu.
func Tools() string { return filepath.Join(Cache(), "tools", "bin") }

// Image is the archive of the base image.
func Image() string { return filepath.Join(Cache(), "images", "base.oci.tar") }

// Containers skips t unless CELLAR_TEST_CONTAINERS is set, which make test does
// on every machine that can run them: a plain go test needs no root.
func Containers(t testing.TB) {
	t.Helper()
	if os.Getenv("CELLAR_TEST_CONTAINERS") == "" {
		t.Skip("needs root, the built tools and the base image: make test")
	}
	for _, p := range []string{filepath.Join(Tools(), "runc"), Image()} {
		if _, err := os.Stat(p); err != nil {
			t.Fatalf("missing part: %v (run make setup build)", err)
		}
	}
}
