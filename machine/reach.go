package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Reach gives a path to dir that any user may walk: dir itself or, when a folder
// above it is closed to others (a home of mode 0700), a bind mount at alias.
// Containers run as users of their own, and CRIU binds their folders as them.
func Reach(dir, alias string) (string, error) {
	open := true
	for d := dir; d != "/"; d = filepath.Dir(d) {
		st, err := os.Stat(d)
		if err != nil {
			return "", err
		}
		open = open && st.Mode()&0o001 != 0
	}
	if open {
		return dir, nil
	}
	if err := os.MkdirAll(alias, 0o711); err != nil {
		return "", err
	}
	if same(dir, alias) {
		return alias, nil
	}
	if err := syscall.Mount(dir, alias, "", syscall.MS_BIND, ""); err != nil {
		return "", fmt.Errorf("binding %s where containers reach it: %w", dir, err)
	}
	return alias, nil
}

func same(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// Unreach removes what Reach made. It never removes more than an empty folder.
func Unreach(alias string) error {
	for syscall.Unmount(alias, syscall.MNT_DETACH) == nil {
	}
	if err := os.Remove(alias); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
