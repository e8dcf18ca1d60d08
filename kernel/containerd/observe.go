package containerd

import (
	"bytes"
	"context"
	"os"

	apievents "github.com/containerd/containerd/api/events"
	"github.com/containerd/typeurl/v2"
)

// Exits implements kernel.Runtime.
func (r *Runtime) Exits(ctx context.Context) (<-chan string, error) {
	events, errs := r.c.Subscribe(scoped(ctx), `topic=="/tasks/exit"`)
	out := make(chan string, 64)
	go func() {
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case <-errs:
				return
			case e := <-events:
				v, err := typeurl.UnmarshalAny(e.Event)
				if err != nil {
					continue
				}
				// An exec'd process has an ID of its own.
				if exit, ok := v.(*apievents.TaskExit); ok && exit.ID == exit.ContainerID {
					select {
					case out <- exit.ContainerID:
					case <-ctx.Done():
						return
					}
				}
			}
		}
	}()
	return out, nil
}

// criuError is the part of CRIU's log that says why.
func criuError(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	var out []byte
	for line := range bytes.Lines(b) {
		if bytes.Contains(line, []byte("Error (")) && len(out) < 2000 {
			out = append(out, "; criu: "...)
			out = append(out, bytes.TrimSpace(line)...)
		}
	}
	return string(out)
}
