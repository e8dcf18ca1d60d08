// Command cellar is the hub and everything an operator does to it.
package main

import (
	"context"
	"errors"
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
	Serve      serveCmd      `cmd:"" help:"Run the hub."`
	Token      tokenCmd      `cmd:"" help:"Print a new API token of the administrator, or of --user."`
	User       userCmd       `cmd:"" help:"Accounts."`
	Down       downCmd       `cmd:"" help:"End all that belongs to a data folder: sessions hibernate, or are dropped with --kill."`
	Doctor     doctorCmd     `cmd:"" help:"Look at this machine: what works, what does not, and what to do about it."`
	Vault      vaultCmd      `cmd:"" help:"Look after what is stored of checkpoints."`
	Checkpoint checkpointCmd `cmd:"" help:"Checkpoints of a server as files: export, import."`
	Node       nodeCmd       `cmd:"" help:"Nodes of a project on a server: publish, call, roll back ..."`
	Alias      aliasCmd      `cmd:"" help:"Aliases of a project on a server: stable names before nodes."`
	Key        keyCmd        `cmd:"" help:"Keys of those who call the nodes and aliases of a project on a server."`
	Migrate    migrateCmd    `cmd:"" help:"Bring the database to this version's schema, after a copy of it; with --check only list what is to do."`

	Config  kong.ConfigFlag  `help:"A JSON file with values for the flags." placeholder:"FILE"`
	Version kong.VersionFlag `help:"Print the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// nft and lxcfs are where an ordinary user's PATH does not look, and sudo may have kept that PATH.
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// commandLine makes the parser of p. A flag's value comes from the command line,
// else the environment, else the file (of --config, else the one given), else
// the default.
func commandLine(p *program, file string, more ...kong.Option) (*kong.Kong, error) {
	return kong.New(p, append([]kong.Option{
		kong.Name("cellar"), kong.Description("Cellar: notebooks whose sessions are never lost."), kong.DefaultEnvars("CELLAR"),
		kong.Configuration(belowEnvironment, file), kong.Vars{"version": version},
	}, more...)...)
}

// belowEnvironment reads a configuration file. Kong asks files after it has
// looked at the environment and lets them win, so ours keeps quiet about what
// the environment says: a file is for all starts, a variable for this one.
func belowEnvironment(r io.Reader) (kong.Resolver, error) {
	file, err := kong.JSON(r)
	if err != nil {
		return nil, err
	}
	return kong.ResolverFunc(func(c *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
		for _, name := range flag.Envs {
			if _, set := os.LookupEnv(name); set {
				return nil, nil
			}
		}
		return file.Resolve(c, parent, flag)
	}), nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var p program
	parser, err := commandLine(&p, "/etc/cellar/config.json", kong.UsageOnError(), kong.Writers(stdout, stderr),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.BindTo(stdout, (*io.Writer)(nil)))
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
		var exit *exitError
		if errors.As(err, &exit) {
			return exit.status
		}
		return 1
	}
	return 0
}
