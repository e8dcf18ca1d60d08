package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cellar/internal/fault"
	"cellar/kernel/containerd"
	"cellar/machine"
	"cellar/server/hub"
	"cellar/server/store"
)

func originOf(o machine.Origin) hub.Origin {
	return hub.NewOrigin(hub.Origin{Arch: o.Arch, Features: o.Features, System: o.System, CRIU: o.CRIU})
}

// outlook says which checkpoints of a data folder this machine can bring back. It
// only reads, so that it may be asked for after an upgrade, before the server is
// started again.
func outlook(ctx context.Context, d dataFlags) machine.Finding {
	f := machine.Finding{Code: "checkpoints", Status: machine.OK, Title: "Checkpoints"}
	file := filepath.Join(d.Data, "cellar.db")
	s, err := store.OpenToRead(ctx, file)
	if errors.Is(err, os.ErrNotExist) {
		f.Detail = "there are none yet"
		return f
	}
	if err != nil {
		f.Status, f.Detail = machine.Warn, "not looked at: "+fault.Sentence(err)
		if fault.CodeOf(err) == "older_database" {
			f.Fix = "start the server once, or migrate with cellar migrate"
		}
		return f
	}
	defer s.Close()
	list, err := s.Checkpoints(ctx, "")
	if err != nil {
		f.Status, f.Detail = machine.Warn, "not looked at: "+fault.Sentence(err)
		return f
	}
	origins, err := s.Origins(ctx)
	if err != nil {
		f.Status, f.Detail = machine.Warn, "not looked at: "+fault.Sentence(err)
		return f
	}
	daemon := containerd.Daemon{Root: filepath.Join(d.Data, "containerd"), State: containerd.StateDir(d.Data)}
	t := hub.Outlook(list, origins, originOf(machine.Here(ctx, d.Tools)), d.Data, func(ref string) bool { return daemon.HasImage(ctx, ref) })
	return told(f, t)
}

// told puts numbers into words.
func told(f machine.Finding, t hub.Thaws) machine.Finding {
	not := total(t.Not)
	words := []string{fmt.Sprintf("%d of %d can be brought back on this machine", t.All-not, t.All)}
	if t.All == 0 {
		words = []string{"there are none yet"}
	}
	for _, reason := range slices.Sorted(maps.Keys(t.Not)) {
		words = append(words, fmt.Sprintf("%d cannot: %s", t.Not[reason], reason))
	}
	for _, reason := range slices.Sorted(maps.Keys(t.Doubtful)) {
		words = append(words, fmt.Sprintf("%d may not: %s, newer than here", t.Doubtful[reason], reason))
	}
	if t.Unknown > 0 {
		words = append(words, fmt.Sprintf("of %d it is not known what machine they were made on", t.Unknown))
	}
	f.Detail = strings.Join(words, "; ")
	switch {
	case not > 0:
		f.Status, f.Fix = machine.Warn, "go back to the machine, image or version that they were made with; what was kept one by one (Keep Variables Only) goes anywhere"
	case total(t.Doubtful) > 0:
		f.Status, f.Fix = machine.Warn, "go back to the newer version before you rely on them"
	}
	return f
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}
