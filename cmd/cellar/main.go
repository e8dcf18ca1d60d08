// Command cellar is the hub and everything an operator does to it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the linker.
var version = "dev"

type program struct {
	Serve  serveCmd  `cmd:"" help:"Run the hub."`
	Token  tokenCmd  `cmd:"" help:"Print a new API token of the administrator, or of --user."`
	User   userCmd   `cmd:"" help:"Accounts."`
	Down   downCmd   `cmd:"" help:"End all that belongs to a data folder: sessions hibernate, or are dropped with --kill."`
	Doctor doctorCmd `cmd:"" help:"Look at this machine: what works, what does not, and what to do about it."`

	Config  kong.ConfigFlag  `help:"A JSON file with values for the flags." placeholder:"FILE"`
	Version kong.VersionFlag `help:"Print the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var p program
	parser, err := kong.New(&p, kong.Name("cellar"), kong.Description("Cellar: notebooks whose sessions are never lost."),
		kong.DefaultEnvars("CELLAR"), kong.Configuration(kong.JSON, "/etc/cellar/config.json"), kong.UsageOnError(),
		kong.Vars{"version": version}, kong.Writers(stdout, stderr), kong.BindTo(ctx, (*context.Context)(nil)), kong.BindTo(stdout, (*io.Writer)(nil)))
	if err != nil {
		fmt.Fprintln(stderr, "cellar:", err)
		return 2
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(stderr, "cellar:", err)
		return 2
	}
	if err := k.Run(); err != nil {
		fmt.Fprintln(stderr, "cellar:", err)
		return 1
	}
	return 0
}
