package language

import (
	"os"
	"path/filepath"
	"testing"
)

func rootOf(t *testing.T, files ...string) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(f)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func TestIn(t *testing.T) {
	image := rootOf(t, "usr/bin/pylsp", "usr/bin/Rscript", "opt/conda/bin/texlab")
	// As npm makes them: a link that leads out of the image, seen from the machine.
	if err := image.Symlink("/usr/lib/node_modules/x", "usr/bin/yaml-language-server"); err != nil {
		t.Fatal(err)
	}
	bare, own := rootOf(t), rootOf(t, ".local/bin/pyright-langserver", ".local/bin/pylsp", "R/x86_64-pc-linux-gnu-library/4.5/languageserver/DESCRIPTION")
	for name, c := range map[string]struct {
		home       *os.Root
		found, own string
	}{
		"nothing of one's own": {bare, " pylsp texlab yaml-language-server", ""},
		"one's own":            {own, " pylsp pyright r-languageserver texlab yaml-language-server", " pylsp pyright r-languageserver"},
	} {
		i, h := InImage(image), InHome(c.home)
		found, mine := "", ""
		for _, s := range Servers {
			f, o := s.In(i, h)
			if f {
				found += " " + s.ID
			}
			if o {
				mine += " " + s.ID
			}
			if o && !f {
				t.Errorf("%s is one's own and not there", s.ID)
			}
		}
		if found != c.found || mine != c.own {
			t.Errorf("%s: found%s, own%s", name, found, mine)
		}
	}
}

// The table is what the lab is told: every entry has what it needs.
func TestServers(t *testing.T) {
	last := ""
	for _, s := range Servers {
		if s.ID <= last {
			t.Errorf("%s stands after %s", s.ID, last)
		}
		last = s.ID
		if s.Name == "" || len(s.Argv) == 0 || len(s.Languages) == 0 || len(s.Types) == 0 || s.Home == "" {
			t.Errorf("%s lacks something: %+v", s.ID, s)
		}
		if found, ok := Find(s.ID); !ok || found.ID != s.ID {
			t.Errorf("%s is not found", s.ID)
		}
	}
}
