package imports

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "cellar/"

// allowed says for every package what it imports of the module itself: no more
// (the picture) and no less (an entry nobody needs any more goes). Imports point
// down: cmd -> server -> server/hub -> {machine, node} -> {checkpoint, proxy} ->
// kernel/wire -> kernel. Adapters (store, containerd) are known to cmd alone.
var allowed = map[string]string{
	"cmd/cellar":               "checkpoint images/tour internal/fault kernel kernel/containerd kernel/language kernel/packages kernel/support machine server server/api server/hub server/jupyter/lab server/store server/webhook web",
	"cmd/cellar-keep":          "checkpoint checkpoint/vault kernel/pager kernel/keep kernel/language kernel/terminal machine",
	"server":                   "internal/fault kernel node server/api server/app server/hub server/jupyter/contents server/jupyter/events server/jupyter/kernels server/jupyter/lab server/jupyter/lsp server/jupyter/nbconvert server/jupyter/reading server/jupyter/terminals web/console",
	"server/api":               "internal/fault kernel server/hub",
	"server/app":               "internal/fault",
	"server/jupyter/contents":  "internal/fault",
	"server/jupyter/events":    "internal/fault server/hub",
	"server/jupyter/kernels":   "internal/fault kernel kernel/wire proxy server/hub",
	"server/jupyter/lab":       "internal/fault",
	"server/jupyter/lsp":       "internal/fault kernel/language server/hub",
	"server/jupyter/nbconvert": "internal/fault server/hub",
	"server/jupyter/reading":   "internal/fault",
	"server/jupyter/terminals": "internal/fault kernel/terminal server/hub",
	"server/hub":               "checkpoint checkpoint/artifact checkpoint/criu checkpoint/tree checkpoint/vault internal/fault kernel kernel/keep kernel/language kernel/packages kernel/terminal kernel/wire node proxy",
	"server/webhook":           "internal/fault",
	"server/store":             "internal/fault kernel migrations server/hub",
	"machine":                  "",
	"node":                     "internal/fault",
	"proxy":                    "kernel/wire",
	"checkpoint":               "checkpoint/tree checkpoint/vault checkpoint/vault/blob internal/fault kernel/pager",
	"checkpoint/artifact":      "internal/fault",
	"checkpoint/criu":          "",
	"checkpoint/tree":          "checkpoint/vault internal/fault",
	"checkpoint/vault":         "checkpoint/vault/blob internal/fault",
	"checkpoint/vault/blob":    "internal/fault",

	"checkpoint/vault/blob/blobtest": "checkpoint/vault/blob internal/fault",

	"kernel/pager":      "",
	"kernel":            "",
	"kernel/containerd": "kernel kernel/pager",
	"kernel/keep":       "kernel/orphans kernel/wire",
	"kernel/orphans":    "",
	"kernel/packages":   "",
	"kernel/language":   "kernel/orphans kernel/wire",
	"kernel/support":    "",
	"kernel/terminal":   "kernel/orphans kernel/wire",
	"kernel/wire":       "",
	"images/ociwrite":   "",
	"images/tour":       "",
	"internal/fault":    "",
	"internal/imports":  "",
	"internal/testkit":  "kernel/wire",
	"migrations":        "",
	"scripts/testcount": "",
	"test/conformance":  "internal/testkit kernel/wire",
	"web":               "",
	"web/console":       "",
}

// allowedInTests is what test files import beside what their package does and
// internal/testkit, which every test may use.
var allowedInTests = map[string]string{
	"checkpoint/tree":       "checkpoint/vault/blob",
	"checkpoint/vault":      "checkpoint/vault/blob checkpoint/vault/blob/blobtest",
	"checkpoint/vault/blob": "checkpoint/vault/blob/blobtest",
	"kernel/containerd":     "machine cmd/cellar-keep kernel/keep kernel/support kernel/wire",
	"server":                "server/store",
	"server/hub":            "server/store",
	"test/acceptance":       "kernel/containerd kernel/wire node",
}

// programs are where main functions, and with them os.Exit, are.
var programs = []string{"cmd/cellar", "cmd/cellar-keep", "images/ociwrite", "scripts/testcount", "test/conformance"}

// skipped folders hold no packages of this module.
var skipped = []string{"node_modules", "data", "bin", "testdata", "third_party", "bench"}

// files calls fn with every Go file of the module, parsed by mode. It reads the
// files themselves: go list would answer from the test cache after a forbidden
// import appeared.
func files(t *testing.T, mode parser.Mode, fn func(pkg, name string, f *ast.File)) {
	t.Helper()
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains(skipped, d.Name())) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(rel) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(set, name, nil, mode)
		if err != nil {
			return err
		}
		fn(filepath.ToSlash(filepath.Dir(rel)), filepath.ToSlash(rel), f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func own(f *ast.File) (out []string) {
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if rest, ours := strings.CutPrefix(p, module); err == nil && ours {
			out = append(out, rest)
		}
	}
	return out
}

func TestTheImportPicture(t *testing.T) {
	used := map[string]map[string]bool{}
	files(t, parser.ImportsOnly, func(pkg, name string, f *ast.File) {
		isTest := strings.HasSuffix(name, "_test.go")
		may, listed := allowed[pkg]
		if !isTest && !listed {
			t.Errorf("%s: package %s is not in the table of this test; put it where it belongs in the picture", name, pkg)
		}
		if !isTest && used[pkg] == nil {
			used[pkg] = map[string]bool{}
		}
		fine := strings.Fields(may)
		if isTest {
			fine = append(fine, strings.Fields(allowedInTests[pkg])...)
			fine = append(fine, pkg, "internal/testkit", "internal/fault")
		}
		for _, imported := range own(f) {
			if !isTest {
				used[pkg][imported] = true
			}
			if !slices.Contains(fine, imported) {
				t.Errorf("%s: %s may not know %s", name, pkg, imported)
			}
		}
	})
	for pkg, may := range allowed {
		if used[pkg] == nil {
			t.Errorf("package %s is in the table and not in the module", pkg)
			continue
		}
		for _, p := range strings.Fields(may) {
			if !used[pkg][p] {
				t.Errorf("%s does not import %s any more: take it out of the table", pkg, p)
			}
		}
	}
}

// TestTheTableIsThePicture checks the table itself against the rules that it is
// to enforce, so that an entry cannot be added in passing.
func TestTheTableIsThePicture(t *testing.T) {
	layer := func(pkg string) int {
		for i, prefix := range []string{"kernel", "proxy", "checkpoint", "node", "machine", "server/hub", "server", "cmd", "test"} {
			if pkg == prefix || strings.HasPrefix(pkg, prefix+"/") {
				return i
			}
		}
		return -1 // below all: internal, web, images, migrations
	}
	product := []string{"server", "node", "machine", "checkpoint", "proxy", "web", "migrations"}
	for pkg, may := range allowed {
		for _, p := range strings.Fields(may) {
			if layer(p) > layer(pkg) && pkg != "internal/testkit" {
				t.Errorf("%s -> %s points up", pkg, p)
			}
			if strings.HasPrefix(pkg, "kernel") && slices.ContainsFunc(product, func(s string) bool { return p == s || strings.HasPrefix(p, s+"/") }) {
				t.Errorf("%s -> %s: kernels know no product", pkg, p)
			}
			if adapter := p == "server/store" || p == "kernel/containerd"; adapter && !strings.HasPrefix(pkg, "cmd/") {
				t.Errorf("%s -> %s: adapters are wired by cmd alone", pkg, p)
			}
		}
	}
	// No circle, however long.
	var visit func(pkg string, way []string)
	visit = func(pkg string, way []string) {
		if slices.Contains(way, pkg) {
			t.Fatalf("a circle: %v", append(way, pkg))
		}
		for _, p := range strings.Fields(allowed[pkg]) {
			visit(p, append(slices.Clone(way), pkg))
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(allowed)) {
		visit(pkg, nil)
	}
}

func TestNoInitAndExitOnlyInPrograms(t *testing.T) {
	files(t, parser.SkipObjectResolution, func(pkg, name string, f *ast.File) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "init" && fn.Recv == nil {
				t.Errorf("%s has an init function: let cmd wire it", name)
			}
		}
		if strings.HasSuffix(name, "_test.go") || slices.Contains(programs, pkg) {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if call := fmt.Sprint(s.X, ".", s.Sel.Name); call == "os.Exit" || strings.HasPrefix(call, "log.Fatal") {
					t.Errorf("%s calls %s: return an error", name, call)
				}
			}
			return true
		})
	})
}
