package contents

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"

	"cellar/internal/fault"
)

// packer is an archive being written.
type packer interface {
	add(name string, info fs.FileInfo, content io.Reader) error
	io.Closer
}

// archive streams a directory, or one file, as zip or tar.gz (?archiveFormat=).
func (h *handler) archive(w http.ResponseWriter, r *http.Request, t *Tree, p string) error {
	place, err := t.place(p)
	if err != nil {
		return err
	}
	info, err := t.root.Stat(at(place))
	if err != nil {
		return classed(place, err)
	}
	var pack packer
	format, mime := r.URL.Query().Get("archiveFormat"), "application/zip"
	switch format {
	case "", "zip":
		format = "zip"
		pack = &zipped{zip.NewWriter(w)}
	case "tar.gz", "tgz":
		mime = "application/gzip"
		pack = newTarred(w)
	default:
		return fault.Newf(fault.Invalid, "bad_format", "Archives are zip or tar.gz, not %q.", format)
	}
	name := path.Base("/" + place)
	if place == "" {
		name = "files"
	}
	w.Header().Set("Content-Type", mime)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Disposition", attachment(name+"."+format))
	if r.Method == http.MethodHead {
		return nil
	}
	if err := t.pack(r, pack, place, name, info, 0); err != nil {
		// The status is gone. Cutting the line is the only way to say that the archive is not whole.
		panic(http.ErrAbortHandler)
	}
	_ = pack.Close()
	return nil
}

// pack adds a place and all below it. Links and hidden names are left out; what vanishes while we
// walk is no error.
func (t *Tree) pack(r *http.Request, to packer, place, name string, info fs.FileInfo, depth int) error {
	if err := r.Context().Err(); err != nil {
		return err
	}
	if depth > 64 {
		return fault.New(fault.Exhausted, "too_deep", "The directory is nested too deeply.")
	}
	if !info.IsDir() {
		f, info, err := t.openRegular(place)
		if err != nil {
			return nil
		}
		defer f.Close()
		return to.add(name, info, f)
	}
	names, dir, err := t.names(place)
	if err != nil {
		return nil
	}
	defer dir.Close()
	for _, entry := range names {
		info, err := dir.Lstat(entry)
		if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
			continue
		}
		if err := t.pack(r, to, join1(place, entry), name+"/"+entry, info, depth+1); err != nil {
			return err
		}
	}
	return nil
}

type zipped struct{ *zip.Writer }

func (z *zipped) add(name string, info fs.FileInfo, content io.Reader) error {
	head := &zip.FileHeader{Name: safeName(name), Method: zip.Deflate, Modified: info.ModTime()}
	head.SetMode(info.Mode().Perm())
	w, err := z.CreateHeader(head)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, content)
	return err
}

// safeName keeps a backslash, which is a character here, from being a separator where a zip is opened.
func safeName(name string) string { return strings.ReplaceAll(name, `\`, "_") }

type tarred struct {
	gz *gzip.Writer
	*tar.Writer
}

func newTarred(w io.Writer) *tarred {
	gz := gzip.NewWriter(w)
	return &tarred{gz, tar.NewWriter(gz)}
}

func (a *tarred) add(name string, info fs.FileInfo, content io.Reader) error {
	head := &tar.Header{
		Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size(), ModTime: info.ModTime(),
		Format: tar.FormatPAX,
	}
	if err := a.WriteHeader(head); err != nil {
		return err
	}
	// A tar entry's length is promised: a file that grew is cut, one that shrank ends the archive.
	n, err := io.Copy(a, io.LimitReader(content, info.Size()))
	if err == nil && n < info.Size() {
		err = fault.New(fault.Conflict, "changed", "A file shrank while it was read: "+strconv.Quote(name))
	}
	return err
}

func (a *tarred) Close() error {
	if err := a.Writer.Close(); err != nil {
		return err
	}
	return a.gz.Close()
}
