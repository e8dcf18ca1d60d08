package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"cellar/internal/testkit"
)

// serviceFiles are what jest needs beside the tests themselves.
//
//go:embed services
var serviceFiles embed.FS

// labSource is the variable that names a checkout of JupyterLab.
const labSource = "JUPYTERLAB_SOURCE"

// serviceChecks are the tests of @jupyterlab/services, a check for each of their
// files, run on Cellar alone: on jupyter_server their own repository runs them.
func serviceChecks() ([]*check, error) {
	source := os.Getenv(labSource)
	if source == "" {
		return nil, nil
	}
	tests := filepath.Join(source, "packages", "services", "test")
	var out []*check
	err := filepath.WalkDir(tests, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".spec.ts") {
			return err
		}
		file, err := filepath.Rel(tests, name)
		if err != nil {
			return err
		}
		out = append(out, &check{
			name: "services." + strings.TrimSuffix(file, ".spec.ts"), only: cellarSide, limit: 10 * time.Minute,
			why: "JupyterLab runs these on jupyter_server itself",
			run: func(t *try) { t.jest(source, "test/"+file) },
		})
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s has no tests", tests)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", labSource, err)
	}
	return out, nil
}

// jest runs one file of tests.
func (t *try) jest(source, file string) {
	h, err := t.world.servicesHub(t.ctx)
	t.must(err)
	dir, err := t.world.services(t.ctx, source)
	t.must(err)
	result := filepath.Join(t.world.work, "jest.json")
	os.Remove(result)
	cmd := exec.CommandContext(t.ctx, filepath.Join(dir, "node_modules", ".bin", "jest"), "-i", "--silent", "--json", "--outputFile="+result, "--", regexp.QuoteMeta(file))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CELLAR_URL=http://"+h.address, "CELLAR_TOKEN="+h.token, "CELLAR_DATA="+h.data, "CI=1")
	cmd.WaitDelay = 5 * time.Second
	said, runErr := cmd.CombinedOutput() // its status says no more than the file
	var report struct {
		NumPassedTests int
		TestResults    []struct {
			Message          string
			AssertionResults []struct {
				FullName, Status string
				FailureMessages  []string
			}
		}
	}
	b, err := os.ReadFile(result)
	if err == nil {
		err = json.Unmarshal(b, &report)
	}
	if err != nil {
		t.failf("%v: %v: %s", runErr, err, said[max(0, len(said)-1500):])
	}
	for _, r := range report.TestResults {
		if len(r.AssertionResults) == 0 {
			t.failf("%s", r.Message)
		}
		for _, a := range r.AssertionResults {
			if a.Status == "failed" {
				t.part(a.FullName, firstLines(strings.Join(a.FailureMessages, "\n")))
			}
		}
	}
	t.note = fmt.Sprintf("%d tests passed", report.NumPassedTests)
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

func firstLines(s string) string {
	lines := strings.Split(colours.ReplaceAllString(s, ""), "\n")
	return strings.Join(lines[:min(len(lines), 6)], " / ")
}

// servicesHub is a hub whose kernels are echo and ipython, as the tests want them;
// made by the first who asks.
func (w *world) servicesHub(ctx context.Context) (*hub, error) {
	if w.forServices != nil {
		return w.forServices, nil
	}
	image := filepath.Join(testkit.Cache(), "images", "peer.oci.tar")
	if _, err := os.Stat(image); err != nil {
		return nil, fmt.Errorf("%w (scripts/build-peer.sh --image)", err)
	}
	h, err := w.startHub(context.WithoutCancel(ctx), "cellar-services", "--image", image)
	w.forServices = h
	return h, err
}

// services is a folder with the tests, their sources, and what they need from npm.
func (w *world) services(ctx context.Context, source string) (string, error) {
	if w.servicesDir != "" {
		return w.servicesDir, nil
	}
	dir := filepath.Join(testkit.Cache(), "conformance", "services")
	manifest, err := servicesManifest(source)
	if err != nil {
		return "", err
	}
	if err := installed(ctx, dir, manifest); err != nil {
		return "", err
	}
	for _, part := range []string{"src", "test"} {
		if err := errors.Join(os.RemoveAll(filepath.Join(dir, part)), os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(source, "packages", "services", part)))); err != nil {
			return "", err
		}
	}
	files, err := fs.Sub(serviceFiles, "services")
	if err != nil {
		return "", err
	}
	names, err := fs.Glob(files, "*")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		if err != nil {
			return "", err
		}
	}
	w.servicesDir = dir
	return dir, nil
}

// servicesManifest is a package.json with the versions that the checkout has.
func servicesManifest(source string) ([]byte, error) {
	var versions [2]struct {
		Name, Version                 string
		Dependencies, DevDependencies map[string]string
	}
	for i, name := range []string{"services", "testing"} {
		b, err := os.ReadFile(filepath.Join(source, "packages", name, "package.json"))
		if err == nil {
			err = json.Unmarshal(b, &versions[i])
		}
		if err != nil {
			return nil, err
		}
	}
	need := map[string]string{}
	for _, p := range versions {
		need[p.Name] = p.Version
		for _, list := range []map[string]string{p.Dependencies, p.DevDependencies} {
			for name, version := range list {
				if !strings.HasPrefix(name, "@jupyterlab/") && !slices.Contains([]string{"rimraf", "@rspack/cli"}, name) {
					need[name] = version
				}
			}
		}
	}
	return json.MarshalIndent(map[string]any{"name": "services-tests", "version": "0.0.0", "private": true, "dependencies": need}, "", "  ")
}

// installed has npm install what a package.json wants, once for each content of it.
func installed(ctx context.Context, dir string, manifest []byte) error {
	stamp := filepath.Join(dir, "node_modules", ".conformance")
	if have, err := os.ReadFile(stamp); err == nil && bytes.Equal(have, manifest) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), manifest, 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm install: %w: %s", err, out[max(0, len(out)-2000):])
	}
	return os.WriteFile(stamp, manifest, 0o644)
}
