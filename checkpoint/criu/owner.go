package criu

import (
	"fmt"
	"path/filepath"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/userns"
)

// Rebase gives a dump another range of the machine's user and group IDs: what was
// at from in its user namespaces is at to. All else in a dump tells of users as
// the container sees them. count is how many IDs a range has.
func Rebase(dump string, from, to, count uint32) error {
	names, err := filepath.Glob(filepath.Join(dump, "userns-*.img"))
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("the dump %s has no user namespace", filepath.Base(dump))
	}
	for _, name := range names {
		img, err := decode(name, &userns.UsernsEntry{})
		if err != nil {
			return err
		}
		for _, e := range img.Entries {
			u, ok := e.Message.(*userns.UsernsEntry)
			if !ok {
				continue
			}
			for _, x := range append(u.UidMap, u.GidMap...) {
				lower := x.GetLowerFirst()
				if lower < from || uint64(lower)+uint64(x.GetCount()) > uint64(from)+uint64(count) {
					return fmt.Errorf("%s: the dump has IDs from %d on, which are not its project's", filepath.Base(name), lower)
				}
				x.LowerFirst = new(lower - from + to)
			}
		}
		if err := encode(name, img); err != nil {
			return err
		}
	}
	return nil
}
