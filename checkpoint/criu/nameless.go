package criu

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/checkpoint-restore/go-criu/v8/crit"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/regfile"
	remap "github.com/checkpoint-restore/go-criu/v8/crit/images/remap-file-path"
)

// nameless are the files of a dump, by ID, that had lost the name they were opened
// by when they were dumped. Each has the name of the link that CRIU made to keep
// it; "" when no name was left at all, and the dump has what is in it.
func nameless(dump string, files *crit.CriuImage) (map[uint32]string, error) {
	img, err := decode(filepath.Join(dump, "remap-fpath.img"), &remap.RemapFilePathEntry{})
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := namesOf(files)
	lost := map[uint32]string{}
	for _, e := range img.Entries {
		r, ok := e.Message.(*remap.RemapFilePathEntry)
		if !ok {
			continue
		}
		lost[r.GetOrigId()] = ""
		if r.GetRemapType() == remap.RemapType_LINKED {
			lost[r.GetOrigId()] = names[r.GetRemapId()]
		}
	}
	return lost, nil
}

// compareLink looks at a file that is kept by a link; nil means there is nothing
// to adopt. CRIU takes the link away when it restores, and when it keeps a process
// that goes on: then the file is made anew, empty, as others that are gone.
func compareLink(reg *regfile.RegFileEntry, link string, onMachine func(string) (string, string)) (*Changed, error) {
	top, rel := onMachine(link)
	if link == "" || top == "" {
		return nil, nil
	}
	c := &Changed{Name: reg.GetName(), Was: reg.GetSize()}
	st, err := lstat(top, rel)
	return c.settle(st, err, top, rel, reg)
}
