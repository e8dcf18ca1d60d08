package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"cellar/checkpoint"
	"cellar/server/store"
)

type vaultCmd struct {
	Stats  vaultStatsCmd  `cmd:"" help:"The sizes of the vaults, one for each person who has checkpoints."`
	Verify vaultVerifyCmd `cmd:"" help:"Read all that is stored and say what is damaged, and which checkpoints that hurts."`
	GC     vaultGCCmd     `cmd:"" name:"gc" help:"Free what no checkpoint uses any more. A hub does so by itself."`
	Rotate vaultRotateCmd `cmd:"" name:"rotate-key" help:"Seal the checkpoints' keys with a new master key, which takes the place of the one in its file."`
}

// keyFlags are what every command that reads checkpoints takes.
type keyFlags struct {
	MasterKey string `help:"File with the key that seals the checkpoints' keys, 64 hexadecimal digits. Without it, master.key in the data folder, which is made when it is missing." type:"path" placeholder:"FILE"`
}

func (k keyFlags) file(data string) string {
	if k.MasterKey != "" {
		return k.MasterKey
	}
	return filepath.Join(data, "master.key")
}

// archive opens the checkpoints of a data folder.
func (k keyFlags) archive(ctx context.Context, data string, db *store.Store) (*checkpoint.Archive, error) {
	keys, err := checkpoint.OpenKeyring(ctx, k.file(data), db)
	if err != nil {
		return nil, err
	}
	return &checkpoint.Archive{Dir: filepath.Join(data, "archive"), Keys: keys}, nil
}

// alone opens the records of a data folder on which no hub runs. Call close when
// done.
func (d dataFlags) alone(ctx context.Context) (w *world, err error) {
	if err := d.defaults(); err != nil {
		return nil, err
	}
	if !isDir(d.Data) {
		return nil, fmt.Errorf("there is no data folder %s", d.Data)
	}
	w = &world{dataFlags: d}
	if err := w.takeLock(); errors.Is(err, errRunning) {
		return nil, fmt.Errorf("%w; stop it first: its sessions go on, and come back to it", err)
	} else if err != nil {
		return nil, err
	}
	if w.store, err = store.Open(ctx, filepath.Join(d.Data, "cellar.db")); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// each calls fn for every vault of a data folder on which no hub runs.
func (d dataFlags) each(ctx context.Context, k keyFlags, fn func(a *checkpoint.Archive, tenant string) error) (err error) {
	w, err := d.alone(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	d = w.dataFlags
	a, err := k.archive(ctx, d.Data, w.store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	tenants, err := a.Tenants()
	for _, tenant := range tenants {
		if e := fn(a, tenant); e != nil {
			err = errors.Join(err, fmt.Errorf("vault %s: %w", tenant, e))
		}
	}
	return err
}

type vaultStatsCmd struct {
	dataFlags
	keyFlags
}

// Run implements the command.
func (c *vaultStatsCmd) Run(ctx context.Context, stdout io.Writer) error {
	out := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	defer out.Flush()
	fmt.Fprintln(out, "vault\tcheckpoints\tsegments\tpages\tuncompressed MB\tstored MB\t")
	return c.each(ctx, c.keyFlags, func(a *checkpoint.Archive, tenant string) error {
		s, err := a.Stats(ctx, tenant)
		if err == nil {
			fmt.Fprintf(out, "%s\t%d\t%d\t%d\t%.1f\t%.1f\t\n", tenant, s.Manifests, s.Segments, s.Pages, float64(s.Raw)/1e6, float64(s.Stored)/1e6)
		}
		return err
	})
}

type vaultVerifyCmd struct {
	dataFlags
	keyFlags
	Deep bool `help:"Decompress every page too, and compare it with its hash."`
}

// Run implements the command. The status is 1 when something is damaged.
func (c *vaultVerifyCmd) Run(ctx context.Context, stdout io.Writer) error {
	return c.each(ctx, c.keyFlags, func(a *checkpoint.Archive, tenant string) error {
		r, err := a.Verify(ctx, tenant, c.Deep)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s: %d checkpoints, %d segments, %.1f MB read\n", tenant, r.Manifests, r.Segments, float64(r.Bytes)/1e6)
		for _, d := range r.Damage {
			fmt.Fprintf(stdout, "  damaged: %s: %s\n", d.Blob, d.Detail)
		}
		for _, name := range r.Hurt {
			if id, ok := strings.CutPrefix(name, checkpoint.FilesPrefix); ok {
				name = id + ", its files"
			}
			fmt.Fprintf(stdout, "  not whole: checkpoint %s\n", name)
		}
		if len(r.Damage)+len(r.Hurt) > 0 {
			return fmt.Errorf("%d checkpoints are not whole", len(r.Hurt))
		}
		return nil
	})
}

type vaultGCCmd struct {
	dataFlags
	keyFlags
}

// Run implements the command.
func (c *vaultGCCmd) Run(ctx context.Context, stdout io.Writer) error {
	return c.each(ctx, c.keyFlags, func(a *checkpoint.Archive, tenant string) error {
		r, err := a.Collect(ctx, tenant)
		if err == nil {
			fmt.Fprintf(stdout, "%s: %d segments removed, %d rewritten; %.1f MB before, %.1f MB now\n", tenant, r.Removed, r.Rewritten, float64(r.Before)/1e6, float64(r.After)/1e6)
		}
		return err
	})
}

type vaultRotateCmd struct {
	dataFlags
	keyFlags
}

// Run implements the command.
func (c *vaultRotateCmd) Run(ctx context.Context, stdout io.Writer) error {
	w, err := c.alone(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	file := c.file(w.Data)
	if err := checkpoint.RotateFile(ctx, file, w.store); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s holds a new master key. A backup from before needs the old one.\n", file)
	return nil
}
