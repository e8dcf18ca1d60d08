package contents

import (
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// aliases remember, per path, the hash a client is to see for a file that the hub rewrote itself: a
// browser compares hashes before it saves, and must not take the hub's own write for a stranger's.
// As soon as anybody else writes, the disk's hash is none of the remembered ones and shows itself.
//
// The file carries the same in an extended attribute, for a hub that restarted. A kernel can forge
// that one, and fools nobody but the owner of the file.
type aliases struct {
	mu sync.Mutex
	of map[string]alias
}

// alias says that clients see the hash client where the file has the hash disk, or before: the file
// is replaced a moment after its alias.
type alias struct{ disk, before, client string }

const aliasAttribute = "user.cellar.hash" // "DISK CLIENT"

// disguise is how a file the hub rewrites itself looks to clients: unchanged. The zero disguise is none.
type disguise struct {
	changed      time.Time
	disk, client string
}

// wear gives an open file the time and the attribute. Not every file system has attributes; then
// the memory of this process must do.
func (d disguise) wear(f *os.File) error {
	if d.changed.IsZero() {
		return nil
	}
	_ = unix.Fsetxattr(int(f.Fd()), aliasAttribute, []byte(d.disk+" "+d.client), 0)
	nano := d.changed.UnixNano() // cut, not rounded: clients are told microseconds, and these must not change
	tv := syscall.NsecToTimeval(nano - nano%1000)
	return syscall.Futimes(int(f.Fd()), []syscall.Timeval{tv, tv})
}

// shownHash answers the hash to tell a client for a file whose bytes have the hash disk.
func (t *Tree) shownHash(place, disk string) string {
	if client, ok := t.aliases.find(place, disk); ok {
		return client
	}
	f, _, err := t.openRegular(place)
	if err != nil {
		return disk
	}
	defer f.Close()
	text := make([]byte, 256)
	n, err := unix.Fgetxattr(int(f.Fd()), aliasAttribute, text)
	if err != nil {
		return disk
	}
	known, client, ok := strings.Cut(string(text[:n]), " ")
	if !ok || known != disk || len(client) != len(disk) {
		return disk
	}
	return client
}

func (a *aliases) find(place, disk string) (client string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known, ok := a.of[place]
	return known.client, ok && (known.disk == disk || known.before == disk)
}

func (a *aliases) note(place string, of alias) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of = map[string]alias{}
	}
	a.of[place] = of
}

func (a *aliases) forget(place string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.of, place)
}

// move follows a renamed file, or all files of a renamed directory.
func (a *aliases) move(from, to string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	moved := map[string]alias{}
	for place, known := range a.of {
		if rest, ok := strings.CutPrefix(place, from); ok && (rest == "" || rest[0] == '/') {
			moved[to+rest] = known
			delete(a.of, place)
		}
	}
	for place, known := range moved {
		a.of[place] = known
	}
}
