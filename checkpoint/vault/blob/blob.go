// Package blob is what the vault asks of a storage: whole things by name,
// written once, read in parts. It knows nothing of what is in them.
package blob

import (
	"context"
	"io"
	"strings"

	"cellar/internal/fault"
)

// Info is a blob as it is listed.
type Info struct {
	Name string
	Size int64 // bytes
}

// Store is a storage of blobs. Its calls may be made by many goroutines. A
// blob that is not there is an error of class fault.NotFound; a storage without
// room gives fault.Exhausted. The suite blobtest.Run says the rest.
type Store interface {
	// Put stores what write writes. The blob appears whole and durable when Put
	// answers nil. After an error it is as before, or, when only the answer was
	// lost, as after: never in part. A name that exists is replaced at once.
	Put(ctx context.Context, name string, write func(io.Writer) error) error
	// ReadAt fills all of p from byte off on; io.ErrUnexpectedEOF (wrapped, or
	// itself) when the blob is shorter.
	ReadAt(ctx context.Context, name string, p []byte, off int64) error
	// Size answers the bytes of a blob, as of now.
	Size(ctx context.Context, name string) (int64, error)
	// List answers the blobs whose names begin with prefix, in order of names.
	List(ctx context.Context, prefix string) ([]Info, error)
	// Delete removes a blob. One that is not there is no error.
	Delete(ctx context.Context, name string) error
	// Sweep removes what Puts that were interrupted have left. Only the one
	// writer of a store calls it, before its first Put.
	Sweep(ctx context.Context) error
}

// maxName is the longest name, in bytes.
const maxName = 200

// CheckName says whether name can be a blob's: parts of letters, digits and
// "._-" that begin with no dot, with single slashes between them.
func CheckName(name string) error {
	ok := name != "" && len(name) <= maxName
	for part := range strings.SplitSeq(name, "/") {
		ok = ok && part != "" && part[0] != '.' && strings.IndexFunc(part, strange) < 0
	}
	if !ok {
		return fault.Newf(fault.Invalid, "blob_name", "%.80q cannot be the name of a blob.", name)
	}
	return nil
}

func strange(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && !(r >= '0' && r <= '9') && !strings.ContainsRune("._-", r)
}

// Absent is the error for a blob that is not there.
func Absent(name string) error {
	return fault.Newf(fault.NotFound, "blob_absent", "There is no blob %s.", name)
}
