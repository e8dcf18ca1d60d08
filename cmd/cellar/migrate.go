package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"cellar/server/store"
)

// exitPending is the status of migrate --check when there is something to do:
// a script must be able to tell it from a failure.
const exitPending = 3

// exitError ends the program with a status of its own.
type exitError struct {
	status int
	text   string
}

func (e *exitError) Error() string { return e.text }

type migrateCmd struct {
	dataFlags
	Check bool `help:"Only list what would be done; exit status 3 if there is something. Works beside a running hub."`
}

// Run brings the database to this program's schema. A hub does so at its start,
// too; alone, it can be done and looked at before the hub is let back in.
func (c *migrateCmd) Run(ctx context.Context, stdout io.Writer) error {
	if err := c.defaults(); err != nil {
		return err
	}
	if !isDir(c.Data) {
		return fmt.Errorf("there is no data folder %s", c.Data)
	}
	file := filepath.Join(c.Data, "cellar.db")
	pending, err := store.Pending(ctx, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no database %s; the first start of a hub makes it", file)
	case errors.Is(err, store.ErrNewer):
		return fmt.Errorf("%w than this one (%s): use that one, or put back the copy from before its migration", err, version)
	case err != nil:
		return err
	case len(pending) == 0:
		fmt.Fprintln(stdout, "nothing to do: the database is up to date")
		return nil
	case c.Check:
		for _, step := range pending {
			fmt.Fprintf(stdout, "pending: %s\n", step)
		}
		return &exitError{exitPending, fmt.Sprintf("%d steps are pending; cellar migrate applies them, and so does the next start of the hub", len(pending))}
	}
	w := &world{dataFlags: c.dataFlags}
	if err := w.takeLock(); errors.Is(err, errRunning) {
		return fmt.Errorf("%w: stop it first, a database is not changed under a running hub", err)
	} else if err != nil {
		return err
	}
	defer w.close()
	done, err := store.Migrate(ctx, file)
	if done.Copy != "" {
		fmt.Fprintf(stdout, "the database as it was: %s\n", done.Copy)
	}
	for _, step := range done.Applied {
		fmt.Fprintf(stdout, "applied: %s\n", step)
	}
	if err != nil {
		return fmt.Errorf("migrating stopped with %s undone: %w", strings.Join(pending[min(len(done.Applied), len(pending)):], ", "), err)
	}
	return nil
}
