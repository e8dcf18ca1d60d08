// Command cellar-keep is PID 1 of a kernel's container. It is a program of its
// own, small and static, because it lives in every container and in every
// checkpoint.
//
//	cellar-keep run --journal DIR --runtime DIR [--dir DIR] [--quota BYTES] -- KERNEL ARGV...
//	cellar-keep terminals [--dir DIR] -- SHELL ARGV...
//	cellar-keep languages [--dir DIR]      starts language servers
//	cellar-keep pager --folder DIR --work DIR --dump DIR    brings a thawed container's memory in
//	cellar-keep net        the OCI createRuntime hook: brings the container's network up
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"cellar/kernel/keep"
	"cellar/kernel/language"
	"cellar/kernel/terminal"
)

func main() {
	debug.SetGCPercent(40) // a keeper is one of many; memory counts more than its cycles
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(log, os.Args[1:]); err != nil {
		log.Error("cellar-keep", "error", err)
		os.Exit(1)
	}
}

func run(log *slog.Logger, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("a command is needed: run, terminals, languages, pager or net")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch args[0] {
	case "run":
		return runKernel(ctx, log, args[1:])
	case "terminals":
		return runTerminals(ctx, args[1:])
	case "languages":
		return runLanguages(ctx, log, args[1:])
	case "pager":
		return holdMemory(args[1:])
	case "pager-worker":
		return bringMemory(log, args[1:])
	case "net":
		return setUpNetwork(os.Stdin)
	}
	return fmt.Errorf("unknown command %q", args[0])
}

func runKernel(ctx context.Context, log *slog.Logger, args []string) error {
	o := keep.Options{Log: log}
	fs := flag.NewFlagSet("run", flag.ContinueOnError)
	fs.StringVar(&o.Journal, "journal", "/cellar/journal", "folder of the journal")
	fs.StringVar(&o.Runtime, "runtime", "/run/cellar", "folder of the kernel's sockets")
	fs.StringVar(&o.Dir, "dir", "", "working directory of the kernel")
	fs.Int64Var(&o.Quota, "quota", 1<<30, "bytes of journal kept")
	fs.StringVar(&o.Listen, "listen", fmt.Sprintf("127.0.0.1:%d", keep.Port), "address for the hub")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if o.Argv = fs.Args(); len(o.Argv) == 0 {
		return fmt.Errorf("no kernel to run")
	}
	return keep.Run(ctx, o)
}

// runTerminals is PID 1 of a project's terminal container.
func runTerminals(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("terminals", flag.ContinueOnError)
	dir := fs.String("dir", "/", "where a shell starts")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return fmt.Errorf("no shell to run")
	}
	ln, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", terminal.Port))
	if err != nil {
		return err
	}
	s := terminal.Server{Shell: fs.Args(), Dir: *dir}
	var wg sync.WaitGroup
	if os.Getpid() == 1 {
		wg.Go(func() { s.Orphans.Run(ctx) })
	}
	s.Serve(ctx, ln)
	wg.Wait()
	return nil
}

// runLanguages is PID 1 of a project's container of language servers.
func runLanguages(ctx context.Context, log *slog.Logger, args []string) error {
	fs := flag.NewFlagSet("languages", flag.ContinueOnError)
	dir := fs.String("dir", "/", "where a server starts")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ln, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", language.Port))
	if err != nil {
		return err
	}
	h := language.Host{Dir: *dir, Log: log}
	var wg sync.WaitGroup
	if os.Getpid() == 1 {
		wg.Go(func() { h.Orphans.Run(ctx) })
	}
	h.Serve(ctx, ln)
	wg.Wait()
	return nil
}
