package lab

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"time"

	"cellar/internal/fault"
)

// A person's things are small files, one folder per kind. Only the hub writes there, so a read needs
// no lock; but a browser may ask for any name, so names are made by us.

const (
	maxKept  = 4 << 20 // bytes of one file
	maxFiles = 2000    // of one kind
)

// kept is one file of a person.
type kept struct {
	data    []byte
	changed time.Time
}

// keep writes a file in one step.
func keep(root *os.Root, folder, name string, data []byte) error {
	if err := root.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fault.Wrap(fault.Internal, "not_kept", "This could not be kept.", err)
	}
	to := path.Join(folder, name)
	if _, err := root.Lstat(to); err != nil {
		if names, err := keptNames(root, folder); err != nil || len(names) >= maxFiles {
			return fault.Wrap(fault.Exhausted, "too_many", "There are too many of these already.", errors.Join(err, fs.ErrInvalid))
		}
	}
	var b [8]byte
	rand.Read(b[:])
	temp := path.Join(folder, "."+hex.EncodeToString(b[:]))
	err := root.WriteFile(temp, data, 0o600)
	if err == nil {
		err = root.Rename(temp, to)
	}
	if err != nil {
		root.Remove(temp)
	}
	return fault.Wrap(fault.Internal, "not_kept", "This could not be kept.", err)
}

// find reads a file; one that is not there is an empty answer, not an error.
func find(root *os.Root, folder, name string) (kept, error) {
	f, err := root.Open(path.Join(folder, name))
	if errors.Is(err, fs.ErrNotExist) {
		return kept{}, nil
	}
	if err != nil {
		return kept{}, fault.Wrap(fault.Internal, "not_readable", "What was kept could not be read.", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 2*maxKept))
	if err != nil {
		return kept{}, fault.Wrap(fault.Internal, "not_readable", "What was kept could not be read.", err)
	}
	k := kept{data: data}
	if info, err := f.Stat(); err == nil {
		k.changed = info.ModTime()
	}
	return k, nil
}

// keptNames lists a folder's files.
func keptNames(root *os.Root, folder string) ([]string, error) {
	entries, err := fs.ReadDir(root.FS(), folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.Name()[0] != '.' {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// body reads a bounded request body.
func body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxKept))
	var tooMuch *http.MaxBytesError
	if errors.As(err, &tooMuch) {
		return nil, fault.New(fault.Exhausted, "too_large", "This is too large to be kept.")
	}
	return data, fault.Wrap(fault.Invalid, "body_cut", "The request's body did not arrive whole.", err)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
