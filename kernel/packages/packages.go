// Package packages reads what packages of Python and R are installed in an image
// or in a person's home, from the files that installers leave: dist-info and
// egg-info (packaging.python.org, "Recording installed projects"), and R's
// DESCRIPTION. It runs nothing, and what it reads is untrusted. It knows no hub
// and no projects.
package packages

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Bounds of what is read in one place.
const (
	maxPackages = 5000
	maxEntries  = 50_000 // of a folder
	maxFolders  = 100
	maxHead     = 64 << 10 // of a file with a package's name and version
	maxOrigin   = 16 << 10
)

// Languages of packages.
const (
	Python = "python"
	R      = "r"
)

// Package is an installed package.
type Package struct {
	Name     string
	Version  string
	Language string
	// Requested says that it was asked for by name, not only by another package.
	Requested bool
	// Origin is where it came from, where that is no index: a requirement of pip.
	Origin string
}

// Key is by what a package is the same as another: its name as indexes compare
// it.
func (p Package) Key() string {
	if p.Language == R { // whose names are what they are
		return R + "/" + p.Name
	}
	return p.Language + "/" + strings.ToLower(separators.ReplaceAllString(p.Name, "-"))
}

// Set is what is installed in one place.
type Set struct {
	List []Package // by name
	// Cut says that there are more than were read, or some that cannot be read.
	Cut bool
}

var (
	separators = regexp.MustCompile(`[-_.]+`)
	validName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$`)
	validMark  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+!~-]{0,63}$`) // a version

	imagePython = []string{"usr/local/lib", "usr/lib", "opt/conda/lib"}
	imageR      = []string{"usr/local/lib/R/site-library", "usr/lib/R/site-library", "usr/lib/R/library", "opt/conda/lib/R/library"}
)

// InImage reads what an image holds.
func InImage(root *os.Root) Set {
	s := reading{root: root, seen: map[string]int{}}
	for _, lib := range imagePython {
		s.pythons(lib)
	}
	for _, lib := range imageR {
		s.library(lib)
	}
	return s.done()
}

// InHome reads what a person installed, in the user's own place of pip and of R.
func InHome(root *os.Root) Set {
	s := reading{root: root, seen: map[string]int{}}
	s.pythons(".local/lib")
	for _, platform := range s.folders("R") {
		for _, version := range s.folders(path.Join("R", platform)) {
			s.library(path.Join("R", platform, version))
		}
	}
	return s.done()
}

// reading is a look at one place.
type reading struct {
	root *os.Root
	set  Set
	seen map[string]int // Key to the place in the list: the first folder counts, as for the interpreter
}

func (r *reading) done() Set {
	slices.SortFunc(r.set.List, func(a, b Package) int {
		if c := strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)); c != 0 {
			return c
		}
		return strings.Compare(a.Key(), b.Key())
	})
	return r.set
}

// entries lists a folder; one that is not there is empty.
func (r *reading) entries(dir string, most int) []fs.DirEntry {
	f, err := r.root.Open(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.set.Cut = true
		}
		return nil
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.IsDir() {
		return nil
	}
	list, err := f.ReadDir(most + 1)
	if err != nil && err != io.EOF || len(list) > most {
		r.set.Cut = true
	}
	list = list[:min(len(list), most)]
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list
}

func (r *reading) folders(dir string) (out []string) {
	for _, e := range r.entries(dir, maxFolders) {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out
}

// pythons reads the packages of all versions of Python below a folder.
func (r *reading) pythons(lib string) {
	for _, e := range r.entries(lib, maxEntries) {
		if !strings.HasPrefix(e.Name(), "python3") {
			continue
		}
		for _, packages := range []string{"site-packages", "dist-packages"} {
			r.python(path.Join(lib, e.Name(), packages))
		}
	}
}

func (r *reading) python(dir string) {
	for _, e := range r.entries(dir, maxEntries) {
		name, ending, _ := lastCut(e.Name(), ".")
		if ending != "dist-info" && ending != "egg-info" {
			continue
		}
		info, file := path.Join(dir, e.Name()), "METADATA"
		switch {
		case ending == "dist-info":
		case e.IsDir():
			file = "PKG-INFO"
		default: // an egg-info may be the file itself
			file = ""
		}
		p := Package{Language: Python}
		p.Name, p.Version = head(r.read(path.Join(info, file), maxHead), "Name", "Version")
		// The name of the folder says it too, in a form of its own.
		if name, version, ok := strings.Cut(name, "-"); ok && (!validName.MatchString(p.Name) || !validMark.MatchString(p.Version)) {
			p.Name, p.Version = name, version
		}
		if e.IsDir() {
			_, err := r.root.Lstat(path.Join(info, "REQUESTED"))
			p.Requested = err == nil
			p.Origin = origin(p.Name, r.read(path.Join(info, "direct_url.json"), maxOrigin))
		}
		r.add(p)
	}
}

// library reads a library of R.
func (r *reading) library(dir string) {
	for _, e := range r.entries(dir, maxEntries) {
		if !e.IsDir() {
			continue
		}
		p := Package{Language: R, Requested: true} // R does not note who asked
		p.Name, p.Version = head(r.read(path.Join(dir, e.Name(), "DESCRIPTION"), maxHead), "Package", "Version")
		if p.Name != "" || p.Version != "" {
			r.add(p)
		}
	}
}

func (r *reading) add(p Package) {
	if !validName.MatchString(p.Name) || !validMark.MatchString(p.Version) || len(r.set.List) >= maxPackages {
		r.set.Cut = true
		return
	}
	if _, ok := r.seen[p.Key()]; !ok {
		r.seen[p.Key()] = len(r.set.List)
		r.set.List = append(r.set.List, p)
	}
}

// read gives the beginning of a regular file, or nothing.
func (r *reading) read(name string, most int64) string {
	// Looked at before it is opened: a pipe would hold whoever opens it.
	if st, err := r.root.Stat(name); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	f, err := r.root.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	b, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return ""
	}
	return string(b)
}

// head finds two fields in the header of a mail-like file.
func head(text, key1, key2 string) (value1, value2 string) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		switch {
		case strings.EqualFold(key, key1) && value1 == "":
			value1 = strings.TrimSpace(value)
		case strings.EqualFold(key, key2) && value2 == "":
			value2 = strings.TrimSpace(value)
		}
	}
	return value1, value2
}

func lastCut(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// origin makes a requirement of a direct_url.json, as pip freeze does.
func origin(name, text string) string {
	var d struct {
		URL string `json:"url"`
		VCS *struct {
			VCS    string `json:"vcs"`
			Commit string `json:"commit_id"`
		} `json:"vcs_info"`
		Dir *struct {
			Editable bool `json:"editable"`
		} `json:"dir_info"`
		Sub string `json:"subdirectory"`
	}
	if text == "" || json.Unmarshal([]byte(text), &d) != nil || !plain(d.URL) || !plain(d.Sub+".") {
		return ""
	}
	url := d.URL
	if d.VCS != nil {
		if !validName.MatchString(d.VCS.VCS) || !validName.MatchString(d.VCS.Commit) {
			return ""
		}
		url = d.VCS.VCS + "+" + url + "@" + d.VCS.Commit
	}
	if d.Sub != "" {
		url += "#subdirectory=" + d.Sub
	}
	if d.Dir != nil && d.Dir.Editable {
		return "-e " + url
	}
	return name + " @ " + url
}

// plain reports whether s can stand in a line of requirements.
func plain(s string) bool {
	return s != "" && len(s) <= 2000 && !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII || r <= ' ' || r == 0x7f || r == '#' })
}

// Requirements writes the packages of Python as pip's requirements.
func Requirements(list []Package) string {
	var b strings.Builder
	for _, p := range list {
		switch {
		case p.Language != Python:
		case p.Origin != "":
			b.WriteString(p.Origin + "\n")
		default:
			b.WriteString(p.Name + "==" + p.Version + "\n")
		}
	}
	return b.String()
}
