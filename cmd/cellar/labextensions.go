package main

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"strings"

	"cellar/server/jupyter/lab"
)

// labExtensionDirs are where images keep prebuilt extensions of JupyterLab, in
// Jupyter's order. A person's home is not among them: a kernel can write there,
// and an extension acts in the browser for whoever opens the page.
var labExtensionDirs = []string{"usr/local/share/jupyter/labextensions", "usr/share/jupyter/labextensions", "opt/conda/share/jupyter/labextensions"}

// labExtensions are the folders of extensions: the operator's, then those of the
// images, copied out of them once.
func (w *world) labExtensions(ctx context.Context) []lab.Folder {
	own := filepath.Join(w.Data, "labextensions")
	if err := os.MkdirAll(own, 0o755); err != nil {
		w.log.Warn("no folder for lab extensions", "error", err)
	}
	out := []lab.Folder{{FS: os.DirFS(own), Replaces: true}}
	for _, f := range w.Image {
		found := w.found[f.Name]
		if found.err != nil || found.ref == "" {
			continue
		}
		dir, err := w.imageExtensions(ctx, found.ref)
		if err != nil {
			w.log.Warn("lab extensions of an image left out", "image", f.Name, "error", err)
			continue
		}
		out = append(out, lab.Folder{FS: os.DirFS(dir)})
	}
	return out
}

// imageExtensions copies the extensions of an image, unless that was done.
func (w *world) imageExtensions(ctx context.Context, ref string) (string, error) {
	_, digest, _ := strings.Cut(ref, "@")
	dir := filepath.Join(w.Data, "runtime", "labextensions", path.Base(strings.ReplaceAll(digest, ":", "-")))
	if isDir(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := w.runtime.CopyFromImage(ctx, ref, labExtensionDirs, tmp); err != nil {
		return "", err
	}
	return dir, os.Rename(tmp, dir)
}
