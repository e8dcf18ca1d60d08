// Package contents is one project's files as Jupyter's contents API shows them: listings, notebooks,
// text and binary files, file checkpoints, uploads and downloads.
//
// It knows neither users nor projects nor kernels: a Tree is a directory with an owner. The kernels
// of the project are hostile and write into the same directory at the same time, so nothing here
// trusts a name twice: every access goes through an os.Root, and a file is looked at after it is open.
package contents

import (
	"os"
	"path"
	"strings"
	"syscall"
	"unicode/utf8"

	"cellar/internal/fault"
)

// Owner is whom created files belong to: the user a kernel of the project runs as. With a negative
// UID files stay as the hub made them.
type Owner struct{ UID, GID int }

// Tree is the files below one directory. Locks and the memory of the hub's own writes live in it, so
// a project has one Tree, shared by all requests.
type Tree struct {
	root       *os.Root
	owner      Owner
	locks      locks
	aliases    aliases
	hidden     bool
	maxContent int64
	maxEntries int
	budget     *Budget
}

// Option changes how a Tree is opened.
type Option func(*Tree)

// WithHidden lists and opens names that start with a dot.
func WithHidden() Option { return func(t *Tree) { t.hidden = true } }

// WithBudget lets the tree's documents share memory with those of others.
func WithBudget(b *Budget) Option { return func(t *Tree) { t.budget = b } }

// WithMaxContent bounds, in bytes, a file that travels inside JSON, either way. 256 MiB if not given;
// larger ones are uploaded in chunks and downloaded as they are.
func WithMaxContent(n int64) Option { return func(t *Tree) { t.maxContent = n } }

// Open opens the tree below dir, which must exist. Close ends it.
func Open(dir string, owner Owner, options ...Option) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.Wrap(fault.ClassOf(err), "tree_unavailable", "The files cannot be opened.", err)
	}
	t := &Tree{root: root, owner: owner, maxContent: 256 << 20, maxEntries: 200_000}
	for _, o := range options {
		o(t)
	}
	return t, nil
}

// Close releases the directory. Calls under way end first or fail.
func (t *Tree) Close() error { return t.root.Close() }

// IsOf reports whether dir is still the directory that the tree was opened on: one that was deleted and
// made again is another.
func (t *Tree) IsOf(dir string) bool {
	mine, err := t.root.Stat(".")
	if err != nil {
		return false
	}
	now, err := os.Stat(dir)
	return err == nil && os.SameFile(mine, now)
}

// maxPath bounds an API path in bytes, as systems bound theirs.
const maxPath = 4096

// place checks an API path and answers it without slashes at its ends; "" is the root. Hidden names
// are not there unless the tree shows them.
func (t *Tree) place(p string) (string, error) {
	if len(p) > maxPath {
		return "", fault.Newf(fault.Invalid, "bad_path", "The path is longer than %d bytes.", maxPath)
	}
	if strings.IndexByte(p, 0) >= 0 || !utf8.ValidString(p) {
		return "", fault.New(fault.Invalid, "bad_path", "The path has characters that no file name can have.")
	}
	var parts []string
	for part := range strings.SplitSeq(p, "/") {
		switch {
		case part == "" || part == ".":
		case part == "..", part[0] == '.' && !t.hidden:
			return "", notFound(p)
		default:
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/"), nil
}

// at is the name by which os.Root knows a place.
func at(place string) string {
	if place == "" {
		return "."
	}
	return place
}

func notFound(p string) error {
	return fault.Newf(fault.NotFound, "no_such_file", "No such file or directory: %s", p)
}

// classed gives a file system's error a class and a sentence. p is the API path.
func classed(p string, err error) error {
	if err == nil {
		return nil
	}
	of := func(class fault.Class, code, sentence string) error {
		return fault.Wrap(class, code, sentence+": "+p, err)
	}
	errno, _ := errnoOf(err)
	switch errno {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP, syscall.ENXIO:
		return of(fault.NotFound, "no_such_file", "No such file or directory")
	case syscall.EEXIST, syscall.ENOTEMPTY:
		return of(fault.Conflict, "exists", "There is something by that name already")
	case syscall.EACCES, syscall.EPERM, syscall.EROFS:
		return of(fault.Denied, "not_permitted", "Permission denied")
	case syscall.ENAMETOOLONG, syscall.EISDIR, syscall.EINVAL:
		return of(fault.Invalid, "bad_path", "This cannot be done with that name")
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:
		return of(fault.Exhausted, "no_space", "There is no space left for it")
	}
	if escapes(err) {
		return of(fault.NotFound, "no_such_file", "No such file or directory")
	}
	if class := fault.ClassOf(err); class != fault.Internal {
		return err
	}
	return of(fault.Internal, "file_system", "The file system failed")
}

func dirOf(place string) string {
	if d := path.Dir(place); d != "." {
		return d
	}
	return ""
}
