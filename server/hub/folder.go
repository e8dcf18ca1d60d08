package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// A kernel's folder holds its journals and, beside them, what the hub remembers
// of it for the next hub: a small file of JSON for each thing.
const (
	diedFile     = "died.json"        // how it ended, for those who come later
	recallFile   = "recall.json"      // answers for pages, while it sleeps
	commsFile    = "comms.json"       // what it sleeps with
	displaysFile = "displays.json"    // which notebooks show its displays
	timingsFile  = "timings.json"     // when cells ran, and for how long
	infoFile     = "kernel_info.json" // what it says it is
)

// maxRemembered bounds the reading of such a file.
const maxRemembered = 4 << 20

// drawer is where those files lie. Its zero value is ready.
type drawer struct {
	mu   sync.Mutex
	gone bool // the folder is removed; nobody may write there again
}

func (l *Live) folder() string { return filepath.Join(l.h.Data, "kernels", string(l.rec.ID)) }

func (l *Live) journalDir() string { return filepath.Join(l.folder(), l.rec.Journal) }

// remember writes v down as name: whole, or not at all. Of a kernel that was shut
// down nothing is written any more.
func (l *Live) remember(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxRemembered {
		return fmt.Errorf("%s has %d bytes", name, len(b))
	}
	l.drawer.mu.Lock()
	defer l.drawer.mu.Unlock()
	if l.drawer.gone {
		return nil
	}
	file := filepath.Join(l.folder(), name)
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// forget removes what was remembered as name.
func (l *Live) forget(name string) error {
	if err := os.Remove(filepath.Join(l.folder(), name)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// recalls reads what was remembered as name into v. What cannot be read is no
// loss to stop for.
func (l *Live) recalls(name string, v any) {
	f, err := os.Open(filepath.Join(l.folder(), name))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var b []byte
	if err == nil {
		defer f.Close()
		b, err = io.ReadAll(io.LimitReader(f, maxRemembered))
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		l.h.Log.Warn("not remembered", "kernel", l.rec.ID, "what", name, "error", err)
	}
}

// clear removes the folder with everything in it; what still wants to be
// remembered meanwhile is not.
func (l *Live) clear() error {
	l.drawer.mu.Lock()
	defer l.drawer.mu.Unlock()
	l.drawer.gone = true
	return os.RemoveAll(l.folder())
}
