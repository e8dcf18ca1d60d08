package machine

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReachKeepsAnOpenPath(t *testing.T) {
	dir, err := os.MkdirTemp("/var/tmp", "reach-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o711)
	if got, err := Reach(dir, dir+".alias"); err != nil || got != dir {
		t.Errorf("%s %v", got, err)
	}
}

func TestReachGoesAroundAPrivateFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("binding a folder needs root")
	}
	home, err := os.MkdirTemp("/var/tmp", "reach-") // mode 0700
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	data, alias := filepath.Join(home, "data"), home+".alias"
	if err := os.Mkdir(data, 0o711); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is there already
		got, err := Reach(data, alias)
		if err != nil || got != alias {
			t.Fatalf("%s %v", got, err)
		}
	}
	defer Unreach(alias)
	if err := os.WriteFile(filepath.Join(alias, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Unreach(alias); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(data, "x")); err != nil {
		t.Errorf("taking the way away took what it led to: %v", err)
	}
	if _, err := os.Stat(alias); err == nil {
		t.Error("the way is still there")
	}
}
