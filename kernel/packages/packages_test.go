package packages

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func place(t testing.TB, files map[string]string) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
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

func show(s Set) string {
	var out []string
	for _, p := range s.List {
		line := p.Language + " " + p.Name + " " + p.Version
		if p.Requested && p.Language == Python {
			line += " requested"
		}
		if p.Origin != "" {
			line += " from " + p.Origin
		}
		out = append(out, line)
	}
	return fmt.Sprint(strings.Join(out, "; "), " cut=", s.Cut)
}

const site = ".local/lib/python3.13/site-packages/"

func TestInHome(t *testing.T) {
	meta := func(name, version string) string {
		return "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n\nVersion: 9 in the text\n"
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing": {nil, " cut=false"},
		"pip's": {map[string]string{
			site + "b-1.0.dist-info/METADATA": meta("b", "1.0"), site + "b-1.0.dist-info/REQUESTED": "",
			site + "Zope.Interface-2.dist-info/METADATA": meta("Zope.Interface", "2"),
			site + "b/__init__.py":                       "", site + "README.txt": "",
		}, "python b 1.0 requested; python Zope.Interface 2 cut=false"},
		"from elsewhere": {map[string]string{
			site + "a-1.dist-info/METADATA": meta("a", "1"), site + "a-1.dist-info/direct_url.json": `{"url":"https://example.org/a.git","vcs_info":{"vcs":"git","commit_id":"0a1b"}}`,
			site + "c-1.dist-info/METADATA": meta("c", "1"), site + "c-1.dist-info/direct_url.json": `{"url":"file:///project/c","dir_info":{"editable":true}}`,
			site + "d-1.dist-info/METADATA": meta("d", "1"), site + "d-1.dist-info/direct_url.json": `{"url":"https://example.org/d.whl\n--index-url=https://evil"}`,
			site + "e-1.dist-info/METADATA": meta("e", "1"), site + "e-1.dist-info/direct_url.json": `{"url":`,
		}, "python a 1 from a @ git+https://example.org/a.git@0a1b; python c 1 from -e file:///project/c; python d 1; python e 1 cut=false"},
		"eggs": {map[string]string{site + "old-3.egg-info": meta("old", "3"), site + "older.egg-info/PKG-INFO": meta("older", "0.1")},
			"python old 3; python older 0.1 cut=false"},
		"without metadata, the folder's name": {map[string]string{site + "x_y-1.5.dist-info/RECORD": ""}, "python x_y 1.5 cut=false"},
		"the same twice": {map[string]string{
			".local/lib/python3.12/site-packages/Foo_Bar-1.dist-info/METADATA": meta("Foo_Bar", "1"), site + "foo.bar-2.dist-info/METADATA": meta("foo.bar", "2"),
		}, "python Foo_Bar 1 cut=false"},
		"hostile": {map[string]string{
			site + "a.dist-info/METADATA":  meta("a\x1b[2J", "1"),
			site + "b.dist-info/METADATA":  meta("b", "1 ; import os"),
			site + "c.dist-info/METADATA":  "Name: " + strings.Repeat("c", 100_000) + "\n",
			site + "d.dist-info/METADATA":  meta("--extra-index-url", "1"),
			site + ".dist-info/METADATA":   "",
			site + "ok.dist-info/METADATA": meta("ok", "1"),
		}, "python ok 1 cut=true"},
		"R": {map[string]string{
			"R/x86_64-pc-linux-gnu-library/4.5/jsonlite/DESCRIPTION": "Package: jsonlite\nTitle: x\nVersion: 2.0.0\n",
			"R/x86_64-pc-linux-gnu-library/4.5/00LOCK/x":             "",
		}, "r jsonlite 2.0.0 cut=false"},
	} {
		if got := show(InHome(place(t, c.files))); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

// Links that lead out, pipes that would hold, folders where files should be.
func TestOddFiles(t *testing.T) {
	root := place(t, map[string]string{site + "b-1.dist-info/METADATA/x": "", site + "ok-1.dist-info/METADATA": "Name: ok\nVersion: 1\n"})
	outside := filepath.Join(t.TempDir(), "METADATA")
	if err := os.WriteFile(outside, []byte("Name: secret\nVersion: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for dir, make := range map[string]func(name string) error{
		"link-1":  func(name string) error { return os.Symlink(outside, name) },
		"pipe-1":  func(name string) error { return unix.Mkfifo(name, 0o644) },
		"round-1": func(name string) error { return os.Symlink("METADATA", name) },
	} {
		dir := filepath.Join(root.Name(), site, dir+".dist-info")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := make(filepath.Join(dir, "METADATA")); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := show(InHome(root)), "python b 1; python link 1; python ok 1; python pipe 1; python round 1 cut=false"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestBounds(t *testing.T) {
	files := map[string]string{}
	for i := range maxPackages + 10 {
		files[fmt.Sprintf("%sp%d-1.dist-info/RECORD", site, i)] = ""
	}
	if s := InHome(place(t, files)); len(s.List) != maxPackages || !s.Cut {
		t.Errorf("%d packages, cut=%v", len(s.List), s.Cut)
	}
}

func TestInImage(t *testing.T) {
	s := InImage(place(t, map[string]string{
		"usr/lib/python3/dist-packages/numpy-2.2.4.dist-info/METADATA":           "Name: numpy\nVersion: 2.2.4\n",
		"usr/lib/python3/dist-packages/pandas-2.2.3+dfsg.egg-info/PKG-INFO":      "Name: pandas\nVersion: 2.2.3+dfsg\n",
		"usr/local/lib/python3.13/dist-packages/numpy-2.3.0.dist-info/METADATA":  "Name: numpy\nVersion: 2.3.0\n",
		"usr/lib/R/site-library/dplyr/DESCRIPTION":                               "Package: dplyr\nVersion: 1.1.4\n",
		"usr/lib/python3.13/lib-dynload/_json.cpython-313-x86_64-linux-gnu.so":   "",
		"usr/lib/node_modules/python3-x/site-packages/evil-1.dist-info/METADATA": "Name: evil\nVersion: 1\n",
	}))
	if got, want := show(s), "r dplyr 1.1.4; python numpy 2.3.0; python pandas 2.2.3+dfsg cut=false"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := Requirements(s.List); got != "numpy==2.3.0\npandas==2.2.3+dfsg\n" {
		t.Errorf("requirements: %q", got)
	}
}

// FuzzMetadata: whatever the files say, names and versions can stand in a line
// of requirements, and nothing else comes into it.
func FuzzMetadata(f *testing.F) {
	f.Add("a-1", "Name: a\nVersion: 1\n", `{"url":"https://example.org/a.git","vcs_info":{"vcs":"git","commit_id":"0a1b"}}`)
	f.Add("b-1", "Name: b\r\nVersion: 1\r\n\r\n", `{"url":"file:///x","dir_info":{"editable":true},"subdirectory":"y"}`)
	f.Add("-", ":\n:", "{}")
	f.Fuzz(func(t *testing.T, folder, meta, url string) {
		if folder == "" || len(folder) > 100 || strings.ContainsAny(folder, "/\x00") {
			return
		}
		root := place(t, map[string]string{site + folder + ".dist-info/METADATA": meta, site + folder + ".dist-info/direct_url.json": url})
		for _, p := range InHome(root).List {
			line := Requirements([]Package{p})
			if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
				t.Fatalf("more than a line: %q", line)
			}
			line = strings.TrimSuffix(line, "\n")
			plainLine := p.Name + "==" + p.Version
			if line != plainLine && !strings.HasPrefix(line, p.Name+" @ ") && !strings.HasPrefix(line, "-e ") {
				t.Fatalf("%q", line)
			}
			for _, r := range line {
				if r < ' ' || r > '~' {
					t.Fatalf("%q in %q", r, line)
				}
			}
		}
	})
}
