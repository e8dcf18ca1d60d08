package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// checkpointCmd carries checkpoints between servers and files.
type checkpointCmd struct {
	Export checkpointExportCmd `cmd:"" help:"Write a checkpoint to a file: an OCI image layout in a tar."`
	Import checkpointImportCmd `cmd:"" help:"Make a project of such a file."`
}

type checkpointExportCmd struct {
	inProject
	ID           string `arg:"" help:"The checkpoint's ID."`
	File         string `arg:"" help:"Where to; - is the standard output." type:"path"`
	WithoutState bool   `help:"Leave the kernel out, with everything in its memory: notebook, files and packages alone."`
}

// Run writes the file; one that is not whole is removed.
func (c *checkpointExportCmd) Run(ctx context.Context, out io.Writer) (err error) {
	body, err := c.stream(ctx, http.MethodGet, c.at("checkpoints", c.ID, "export")+"?state="+strconv.FormatBool(!c.WithoutState), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if c.File == "-" {
		_, err = io.Copy(out, body)
		return err
	}
	f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // it holds what was in a kernel's memory
	if err != nil {
		return err
	}
	n, err := io.Copy(f, body)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("the checkpoint did not come whole: %w", err), os.Remove(c.File))
	}
	_, err = fmt.Fprintf(out, "%d bytes are in %s.\n", n, c.File)
	return err
}

type checkpointImportCmd struct {
	remote
	File string `arg:"" help:"The file; - is the standard input." type:"path"`
	Name string `help:"Name of the project; the checkpoint's if left out."`
}

// Run sends the file and waits for the project.
func (c *checkpointImportCmd) Run(ctx context.Context, out io.Writer) error {
	var in io.Reader = os.Stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	body, err := c.stream(ctx, http.MethodPost, "/checkpoints/import?name="+url.QueryEscape(c.Name), in)
	if err != nil {
		return err
	}
	defer body.Close()
	var o operation
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&o); err != nil {
		return fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	var made struct {
		Project, Notebook, Kernel string
		Files                     int
		Notes                     []string
	}
	raw, err := c.await(ctx, o, &made)
	if err != nil {
		return err
	}
	return c.print(out, raw, func() {
		fmt.Fprintf(out, "project   %s\nnotebook  %s\nfiles     %d\n", made.Project, made.Notebook, made.Files)
		if made.Kernel != "" {
			fmt.Fprintf(out, "kernel    %s\n", made.Kernel)
		}
		for _, n := range made.Notes {
			fmt.Fprintln(out, n)
		}
	})
}

// stream asks the API for what is too large to hold. The caller closes the answer.
func (r remote) stream(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	token, err := r.secret()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(r.Server, "/")+"/api/v1"+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		req.Header.Set("Content-Type", "application/x-tar")
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the server does not answer: %w", err)
	}
	if res.StatusCode < 300 {
		return res.Body, nil
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	p := &problem{}
	if err != nil || json.Unmarshal(answer, p) != nil || p.Status == 0 {
		return nil, fmt.Errorf("the server answers %s", res.Status)
	}
	return nil, p
}
