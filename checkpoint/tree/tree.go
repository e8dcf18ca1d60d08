// Package tree keeps folders of files as they are at a moment, in a vault: which
// paths there are, and what is in the files, each content once however many
// snapshots have it. It compares snapshots with each other and with what is there
// now, and writes files back. The folders are a stranger's: links are not
// followed, numbers and sizes are bounded, and a name can be any bytes.
//
// It knows no kernels, projects or users.
package tree

import (
	"crypto/sha256"
	"encoding/json"
	"os"
	"strings"
	"time"

	"cellar/internal/fault"
)

// Kind is what a path is.
type Kind byte

const (
	File   Kind = 'f'
	Folder Kind = 'd'
	Link   Kind = 'l'
	Other  Kind = 'o' // a socket, pipe or device: listed, never kept
)

// Why says why the content of a file, or what is below a folder, is not kept.
type Why byte

const (
	Kept       Why = iota
	TooLarge       // over the limit of one file
	TooMuch        // over the limit of all
	Special        // a socket, pipe or device
	Unreadable     // it could not be read
	TooDeep        // a folder too far down
)

// String is a stable name.
func (w Why) String() string {
	if int(w) < len(whys) {
		return whys[w]
	}
	return "unknown"
}

var whys = [...]string{"kept", "too_large", "too_much", "special", "unreadable", "too_deep"}

// Sum is the beginning of the SHA-256 of a content.
type Sum [16]byte

// sumOf is the sum of a content that was written into h.
func sumOf(full []byte) Sum { return Sum(full[:len(Sum{})]) }

func newSum(b []byte) Sum {
	full := sha256.Sum256(b)
	return sumOf(full[:])
}

// Entry is one path of a snapshot.
type Entry struct {
	Path  string // the name of a Top, a slash, and the path below it
	Kind  Kind
	Mode  uint32 // permission bits
	Size  int64  // bytes, of files
	Mtime int64  // nanoseconds since 1970
	Ctime int64
	Inode uint64

	Target string // of a link
	Why    Why
	Torn   bool // it changed all the while it was read: the content may be of two moments
	// Unsettled: it changed so shortly before it was read that a later change need
	// not show in its times.
	Unsettled bool
	Sum       Sum

	at extent // where the content is
}

// HasContent reports whether the content of a file is kept.
func (e Entry) HasContent() bool { return e.Kind == File && e.Why == Kept }

// Below is the path below the top by that name.
func (e Entry) Below(top string) (rel string, ok bool) { return strings.CutPrefix(e.Path, top+"/") }

// extent is a range of pages of a snapshot's data.
type extent struct{ page, pages uint64 }

func (x extent) end() uint64 { return x.page + x.pages }

// Top is a folder that is kept.
type Top struct {
	Name   string // one part of a path
	Root   *os.Root
	Places []string // paths below it; nil: all of it
	Limits Limits
}

// Limits bound what is kept of a top; 0: not bounded.
type Limits struct {
	File  int64 // bytes of one file
	Total int64 // bytes of all
}

// Taking says what to take.
type Taking struct {
	Tops []Top
	// Skip leaves out what has this name, and all below it. It may be nil.
	Skip func(name string) bool
	// About is the caller's, and kept with the snapshot.
	About json.RawMessage

	begun time.Time // zero: now; tests know that their files are settled
}

// Summary is what a snapshot has.
type Summary struct {
	Begun     time.Time `json:"begun"` // nothing in it is older than the files were then
	Ended     time.Time `json:"ended"` // nor newer than they were then
	Files     int       `json:"files"` // whose content is kept
	Bytes     int64     `json:"bytes"` // of them
	Read      int       `json:"read"`  // files that had to be read
	ReadBytes int64     `json:"read_bytes"`
	Left      int       `json:"left"` // paths that are listed only
	Torn      int       `json:"torn"` // files that changed while they were read
	Cut       bool      `json:"cut"`  // there were too many paths: not all are listed
}

const (
	maxEntries = 200_000
	maxDepth   = 64
	maxPath    = 4096 // bytes
)

// checkPath reports whether a path can be that of an entry.
func checkPath(p string) bool {
	if p == "" || len(p) > maxPath || strings.IndexByte(p, 0) >= 0 {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

func damaged(what string) error {
	return fault.Newf(fault.Unavailable, "files_damaged", "What is kept of the files is damaged: %s.", what)
}
