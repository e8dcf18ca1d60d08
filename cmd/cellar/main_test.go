package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// write makes a configuration file.
func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Every source alone, and every pair of neighbours: the nearer to this one start wins.
func TestWhereAFlagsValueComesFrom(t *testing.T) {
	file := `{"listen": "file:1", "idle": "3m", "trusted_proxies": ["10.0.0.3", "10.0.0.4"]}`
	for name, c := range map[string]struct {
		args    []string
		env     map[string]string
		file    string
		listen  string
		idle    time.Duration
		proxies []string
	}{
		"default":              {listen: "127.0.0.1:8888", idle: 30 * time.Minute},
		"file":                 {file: file, listen: "file:1", idle: 3 * time.Minute, proxies: []string{"10.0.0.3", "10.0.0.4"}},
		"environment":          {env: map[string]string{"CELLAR_LISTEN": "env:1"}, listen: "env:1", idle: 30 * time.Minute},
		"command line":         {args: []string{"--listen", "arg:1"}, listen: "arg:1", idle: 30 * time.Minute},
		"environment and file": {env: map[string]string{"CELLAR_LISTEN": "env:1", "CELLAR_TRUSTED_PROXIES": "10.0.0.9"}, file: file, listen: "env:1", idle: 3 * time.Minute, proxies: []string{"10.0.0.9"}},
		"command line and file": {args: []string{"--idle", "1m"}, file: file, listen: "file:1", idle: time.Minute,
			proxies: []string{"10.0.0.3", "10.0.0.4"}},
		"command line and environment": {args: []string{"--listen", "arg:1"}, env: map[string]string{"CELLAR_LISTEN": "env:1"}, listen: "arg:1", idle: 30 * time.Minute},
		"all": {args: []string{"--listen", "arg:1"}, env: map[string]string{"CELLAR_LISTEN": "env:1", "CELLAR_IDLE": "2m"}, file: file,
			listen: "arg:1", idle: 2 * time.Minute, proxies: []string{"10.0.0.3", "10.0.0.4"}},
		"as the default, against the file": {args: []string{"--idle", "30m"}, file: file, listen: "file:1", idle: 30 * time.Minute, proxies: []string{"10.0.0.3", "10.0.0.4"}},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			usual := filepath.Join(t.TempDir(), "none.json")
			if c.file != "" {
				usual = write(t, c.file)
			}
			var p program
			parser, err := commandLine(&p, usual)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(append([]string{"serve"}, c.args...)); err != nil {
				t.Fatal(err)
			}
			if s := p.Serve; s.Listen != c.listen || s.Idle != c.idle || !slices.Equal(s.TrustedProxies, c.proxies) {
				t.Errorf("listen %q, idle %v, proxies %q", s.Listen, s.Idle, s.TrustedProxies)
			}
		})
	}
}

// The file that is named wins over the usual one, wherever its name comes from.
func TestANamedFile(t *testing.T) {
	usual, named := write(t, `{"listen": "usual:1", "base_path": "/usual"}`), write(t, `{"listen": "named:1"}`)
	for name, args := range map[string][]string{"command line": {"serve", "--config", named}, "environment": {"serve"}} {
		t.Run(name, func(t *testing.T) {
			if name == "environment" {
				t.Setenv("CELLAR_CONFIG", named)
			}
			var p program
			parser, err := commandLine(&p, usual)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(args); err != nil {
				t.Fatal(err)
			}
			if p.Serve.Listen != "named:1" || p.Serve.BasePath != "/usual" {
				t.Errorf("%q, %q", p.Serve.Listen, p.Serve.BasePath)
			}
		})
	}
}

func TestAFileThatIsNotJSON(t *testing.T) {
	var p program
	if _, err := commandLine(&p, write(t, "listen: 1")); err == nil {
		t.Error("it is taken")
	}
}
