package main

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"cellar/server/hub"
)

const twoSizes = `[{"name": "small", "cpus": 1, "memory": 1073741824, "units_per_second": 1, "description": "For a look"},
	{"name": "large", "cpus": 64, "memory": 274877906944, "units_per_second": 12.5}]`

func TestConfigurationsFlag(t *testing.T) {
	want := []hub.Configuration{
		{Name: "small", CPUs: 1, Memory: 1 << 30, UnitsPerSecond: 1, Description: "For a look"}, {Name: "large", CPUs: 64, Memory: 256 << 30, UnitsPerSecond: 12.5},
	}
	none := filepath.Join(t.TempDir(), "none.json")
	file := write(t, twoSizes)
	for name, c := range map[string]struct {
		args   []string
		env    string
		config string
		want   []hub.Configuration
		fails  string
	}{
		"none":                     {config: none},
		"a file":                   {args: []string{"--configurations", file}, config: none, want: want},
		"a file, by a variable":    {env: file, config: none, want: want},
		"the list itself":          {config: write(t, `{"configurations": `+twoSizes+`}`), want: want},
		"the file's name":          {config: write(t, `{"configurations": "`+file+`"}`), want: want},
		"a file against the list":  {args: []string{"--configurations", file}, config: write(t, `{"configurations": []}`), want: want},
		"no such file":             {args: []string{"--configurations", none}, config: none, fails: "no such file"},
		"not JSON":                 {args: []string{"--configurations", write(t, "small: 1")}, config: none, fails: "not a list of configurations"},
		"not a list":               {config: write(t, `{"configurations": {"small": 1}}`), fails: "not a list of configurations"},
		"an empty list":            {config: write(t, `{"configurations": []}`), fails: "is empty"},
		"a misspelt key":           {args: []string{"--configurations", write(t, strings.Replace(twoSizes, "memory", "memmory", 1))}, config: none, fails: "memmory"},
		"half a core":              {args: []string{"--configurations", write(t, strings.Replace(twoSizes, `"cpus": 1`, `"cpus": 0.5`, 1))}, config: none, fails: "cpus"},
		"twice the same name":      {args: []string{"--configurations", write(t, strings.Replace(twoSizes, "large", "small", 1))}, config: none, fails: `two configurations with the name "small"`},
		"something after the list": {args: []string{"--configurations", write(t, twoSizes+"{}")}, config: none, fails: "something follows"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.env != "" {
				t.Setenv("CELLAR_CONFIGURATIONS", c.env)
			}
			var p program
			parser, err := commandLine(&p, c.config)
			if err != nil {
				t.Fatal(err)
			}
			_, err = parser.Parse(append([]string{"serve"}, c.args...))
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("%v, want %q", err, c.fails)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(p.Serve.Configurations.list, c.want) {
				t.Errorf("%+v, %v", p.Serve.Configurations.list, err)
			}
		})
	}
}
