package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"cellar/internal/fault"
	"cellar/machine"
	"cellar/server/hub"
	"cellar/server/store"
)

// records opens the database alone: it works beside a running hub.
func (d *dataFlags) records(ctx context.Context) (*hub.Hub, func(), error) {
	if err := d.defaults(); err != nil {
		return nil, nil, err
	}
	s, err := store.Open(ctx, filepath.Join(d.Data, "cellar.db"))
	if err != nil {
		return nil, nil, err
	}
	return &hub.Hub{Store: s}, func() { s.Close() }, nil
}

type tokenCmd struct {
	dataFlags
	User string `help:"Whose token; the administrator's if not given."`
	Name string `help:"What the token is for." default:"command line"`
}

// Run prints the token and nothing else.
func (c *tokenCmd) Run(ctx context.Context, stdout io.Writer) error {
	h, done, err := c.records(ctx)
	if err != nil {
		return err
	}
	defer done()
	u, err := h.FirstStart(ctx)
	if c.User != "" {
		if u, err = h.Store.UserByName(ctx, c.User); errors.Is(err, fault.NotFound) {
			return fmt.Errorf("there is no user %q", c.User)
		}
	}
	if err != nil {
		return err
	}
	_, secret, err := h.AddToken(ctx, u, c.Name)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, secret)
	return nil
}

type userCmd struct {
	Add      userAddCmd      `cmd:"" help:"Add a user; prints the first password."`
	List     userListCmd     `cmd:"" help:"List users."`
	Password userPasswordCmd `cmd:"" help:"Give a user a new password, which is printed."`
}

type userAddCmd struct {
	dataFlags
	Name  string `arg:"" help:"The user's name."`
	Admin bool   `help:"May administer the server."`
}

// Run adds the user.
func (c *userAddCmd) Run(ctx context.Context, stdout io.Writer) error {
	h, done, err := c.records(ctx)
	if err != nil {
		return err
	}
	defer done()
	_, password, err := h.AddUser(ctx, c.Name, c.Admin)
	if errors.Is(err, fault.Conflict) {
		return fmt.Errorf("there is a user %q already", c.Name)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s\n", password)
	return nil
}

type userPasswordCmd struct {
	dataFlags
	Name string `arg:"" help:"The user's name."`
}

// Run sets the password.
func (c *userPasswordCmd) Run(ctx context.Context, stdout io.Writer) error {
	h, done, err := c.records(ctx)
	if err != nil {
		return err
	}
	defer done()
	u, err := h.Store.UserByName(ctx, c.Name)
	if err != nil {
		return fmt.Errorf("there is no user %q", c.Name)
	}
	password := hub.Secret()[:16]
	if err := h.SetPassword(ctx, u, password); err != nil {
		return err
	}
	fmt.Fprintln(stdout, password)
	return nil
}

type userListCmd struct{ dataFlags }

// Run lists the users.
func (c *userListCmd) Run(ctx context.Context, stdout io.Writer) error {
	h, done, err := c.records(ctx)
	if err != nil {
		return err
	}
	defer done()
	users, err := h.Store.Users(ctx)
	if err != nil {
		return err
	}
	for _, u := range users {
		role := "user"
		if u.Admin {
			role = "administrator"
		}
		fmt.Fprintf(stdout, "%s\t%s\n", u.Name, role)
	}
	return nil
}

type doctorCmd struct {
	dataFlags
	JSON bool `help:"Print JSON."`
}

// Run prints the findings; the exit status is 1 if one is a failure.
func (c *doctorCmd) Run(ctx context.Context, stdout io.Writer) error {
	if err := c.defaults(); err != nil {
		return err
	}
	d := machine.Doctor{Tools: c.Tools, Data: existing(c.Data), Images: imagesOf(ctx, c.dataFlags)}
	list := append(d.Examine(ctx), outlook(ctx, c.dataFlags))
	failed := 0
	if c.JSON {
		if err := json.NewEncoder(stdout).Encode(map[string]any{"items": findings(list)}); err != nil {
			return err
		}
	}
	for _, f := range list {
		if f.Status == machine.Fail {
			failed++
		}
		if c.JSON {
			continue
		}
		fmt.Fprintf(stdout, "%-5s %-16s %s: %s\n", f.Status, f.Code, f.Title, f.Detail)
		if f.Fix != "" {
			fmt.Fprintf(stdout, "%23s%s\n", "-> ", f.Fix)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d findings keep kernels from running", failed)
	}
	return nil
}

// existing is dir or the nearest folder above it that is there.
func existing(dir string) string {
	for dir != "/" && !isDir(dir) {
		dir = filepath.Dir(strings.TrimRight(dir, "/"))
	}
	return dir
}
