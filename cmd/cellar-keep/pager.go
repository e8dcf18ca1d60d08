package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"cellar/checkpoint"
	"cellar/checkpoint/vault"
	"cellar/kernel/pager"
)

// holdMemory is the guardian of a container's memory that comes late; see
// package pager. It says "ready" on its standard output once CRIU may connect.
func holdMemory(args []string) error {
	fs := flag.NewFlagSet("pager", flag.ContinueOnError)
	folder := fs.String("folder", "", "where the pager keeps its lock and says how it went")
	work := fs.String("work", "", "CRIU's work folder")
	dump := fs.String("dump", "", "folder of the dump")
	wanted := fs.String("wanted", "", "file that remembers what was asked for first")
	if err := fs.Parse(args); err != nil {
		return err
	}
	worker := exec.Command("/proc/self/exe", "pager-worker", *dump, *wanted)
	worker.Stdin, worker.Stderr = os.Stdin, os.Stderr // what the worker is told is nothing for us
	return pager.Hold(*folder, *work, worker, func() {
		fmt.Println("ready")
		os.Stdout.Close()
	})
}

// bringMemory is the guardian's worker.
func bringMemory(log *slog.Logger, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("pager-worker is started by pager")
	}
	start := time.Now()
	o := pager.Options{Wanted: args[1], Lazy: laziness()}
	if pager.Hollow(args[0]) {
		var key vault.Key
		if _, err := io.ReadFull(os.Stdin, key[:]); err != nil {
			return fmt.Errorf("the key to the pages of a hollow dump: %w", err)
		}
		var err error
		if o.Open, err = checkpoint.OpenLate(args[0], key); err != nil {
			return err
		}
	}
	n, err := pager.Work(args[0], o)
	log.Info("pager", "bytes", n.Bytes, "faults", n.Faults, "asked", n.Asked, "took", time.Since(start))
	return err
}

// laziness is for tests: as long as the file that CELLAR_TEST_LAZY names is
// there, memory comes only to those who ask for it.
func laziness() func() bool {
	name := os.Getenv("CELLAR_TEST_LAZY")
	if name == "" {
		return nil
	}
	return func() bool {
		_, err := os.Stat(name)
		return err == nil
	}
}
