package acceptance

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cellar/internal/testkit"
)

// image is the archive of an image that not everybody builds; a test that needs
// one that is not there is left out by name.
func image(t *testing.T, name string) string {
	t.Helper()
	testkit.Containers(t)
	archive := filepath.Join(testkit.Cache(), "images", name+".oci.tar")
	if _, err := os.Stat(archive); err != nil {
		t.Skipf("the kernel image %s is not built: make image IMAGE=%s", name, name)
	}
	return archive
}

// startKernel starts a kernel by its kernelspec.
func (h *hub) startKernel(project, spec string) string {
	h.t.Helper()
	var k struct{ ID string }
	h.Want(201, "POST", "/projects/"+project+"/api/kernels", map[string]string{"name": spec}, &k)
	return k.ID
}

// specs are the display names of the kernels offered, by name.
func (h *hub) specs(project string) (first string, offered map[string]string) {
	h.t.Helper()
	var list struct {
		Default     string
		Kernelspecs map[string]struct {
			Spec struct {
				DisplayName string `json:"display_name"`
			}
		}
	}
	h.Want(200, "GET", "/projects/"+project+"/api/kernelspecs", nil, &list)
	offered = map[string]string{}
	for name, s := range list.Kernelspecs {
		offered[name] = s.Spec.DisplayName
	}
	return list.Default, offered
}

// imageOf is the image that a checkpoint remembers.
func (h *hub) imageOf(checkpoint string) string {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.data, "vault", checkpoint, "manifest.json"))
	if err != nil {
		h.t.Fatal(err)
	}
	var m struct{ Checkpoint struct{ Image string } }
	if err := json.Unmarshal(b, &m); err != nil {
		h.t.Fatal(err)
	}
	return m.Checkpoint.Image
}

func (h *hub) newProject(name string) string {
	h.t.Helper()
	var p struct{ ID string }
	h.Want(201, "POST", "/api/v1/projects", map[string]string{"name": name}, &p)
	return p.ID
}

// TestSeveralImages: the kernels of all images are offered together, and a
// kernel stays what it is when the images are given in another order.
func TestSeveralImages(t *testing.T) {
	base := testkit.Image()
	h := startHub(t, "--image", base, "--image", "again="+base)
	p := h.newProject("Images")
	first, offered := h.specs(p)
	if first != "python3" || len(offered) != 2 || !strings.HasSuffix(offered["python3-again"], ", again") || offered["python3"]+", again" != offered["python3-again"] {
		t.Errorf("offered: %v, %s by default", offered, first)
	}
	k := h.startKernel(p, "python3-again")
	s := h.Open(p, k)
	if got := s.Exec("x = 41; x + 1"); got != "42" {
		t.Errorf("x + 1 = %s", got)
	}
	var c struct{ ID string }
	h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k, "name": "one"}, &c)
	if ref := h.imageOf(c.ID); !strings.Contains(ref, "@sha256:") {
		t.Errorf("the checkpoint is of image %q", ref)
	}
	if status, b := h.Do("POST", "/projects/"+p+"/api/kernels", map[string]string{"name": "python3-other"}, nil); status != 400 {
		t.Errorf("a kernel of no image: %d %s", status, b)
	}

	h.kill(syscall.SIGTERM)
	h.args = []string{"--image", "again=" + base, "--image", base}
	h.start()
	var model struct{ Name string }
	h.Want(200, "GET", "/projects/"+p+"/api/kernels/"+k, nil, &model)
	if _, offered = h.specs(p); model.Name != "python3" || offered["python3-base"] == "" {
		t.Errorf("after the change of order the kernel is %s of %v", model.Name, offered)
	}
	s = h.Open(p, k)
	if got := s.Exec("x"); got != "41" {
		t.Errorf("x = %s", got)
	}
	h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+c.ID+"/apply", map[string]bool{"files": false}, nil)
	h.Want(200, "POST", "/projects/"+p+"/api/kernels/"+k+"/restart", nil, nil)
	if got := s.Exec("'x' in dir()"); got != "False" {
		t.Errorf("after a restart x is there: %s", got)
	}
}

// shown is what a cell displays of one type; R's kernel displays values where
// Python's returns them.
func shown(s *testkit.Socket, code, mime string) string {
	for _, said := range s.Hear(s.Send(code, "")) {
		if v, ok := said.Data[mime]; ok {
			return v
		}
		if said.Error != "" {
			return said.Error
		}
	}
	return ""
}

// TestR: a kernel that is not Python has the same life: hibernated, moved, gone
// back, interrupted; and what it has not is said.
func TestR(t *testing.T) {
	h := startHub(t, "--image", testkit.Image(), "--image", image(t, "r"))
	p := h.newProject("R")
	if first, offered := h.specs(p); first != "python3" || offered["ir"] != "R" || offered["python3-r"] == "" {
		t.Errorf("offered: %v, %s by default", offered, first)
	}
	k := h.startKernel(p, "ir")
	s := h.Open(p, k)
	text := func(code, want string) {
		t.Helper()
		if got := shown(s, code, "text/plain"); got != want {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
	}
	text("x <- 41; x + 1", "[1] 42")
	if got := s.Exec("cat('out\\n')"); got != "out\n" {
		t.Errorf("printed %q", got)
	}
	if got := s.Exec("stop('no')"); !strings.Contains(got, "no") || !strings.HasPrefix(got, "ERROR") {
		t.Errorf("an error: %q", got)
	}
	picture(t, s, "plot(1:3)")
	picture(t, s, "suppressMessages(library(dplyr)); library(ggplot2); ggplot(mtcars |> filter(cyl == 4), aes(wt, mpg)) + geom_point()")
	// A package of one's own, into the home: no compiler, no index needed.
	s.Exec(`dir.create("/tmp/cellarpkg/R", recursive = TRUE)
writeLines(c("Package: cellarpkg", "Version: 1.0", "Title: A Test", "Description: A test.", "License: MIT", "Author: A", "Maintainer: A <a@localhost>"), "/tmp/cellarpkg/DESCRIPTION")
writeLines("export(answer)", "/tmp/cellarpkg/NAMESPACE")
writeLines("answer <- function() 42", "/tmp/cellarpkg/R/answer.R")
install.packages("/tmp/cellarpkg", repos = NULL, type = "source")`)
	text("startsWith(find.package('cellarpkg'), '/home/cellar/')", "[1] TRUE")

	// What is bound to a file and to a place in it, not only what is a variable.
	s.Exec("numbers <- file('numbers.txt', 'w+'); writeLines(c('a', 'b', 'c'), numbers); flush(numbers); readLines(numbers, 1); set.seed(7); first <- runif(1)")
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	text("x", "[1] 41")
	h.MustRun(h.path(p, k, "switch"), map[string]any{"configuration": "c1.1", "move": true}, nil)
	text("x", "[1] 41")
	text("paste(readLines(numbers, 1), cellarpkg::answer())", `[1] "b 42"`)
	text("second <- runif(1); set.seed(7); identical(c(runif(1), runif(1)), c(first, second))", "[1] TRUE")
	if v := h.kernel(p, k); v.Configuration != "c1.1" || v.State != "running" {
		t.Errorf("%+v", v)
	}

	var c struct{ ID string }
	h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k, "name": "one"}, &c)
	if ref := h.imageOf(c.ID); !strings.Contains(ref, "cellar/r:") || !strings.Contains(ref, "@sha256:") {
		t.Errorf("the checkpoint is of image %q", ref)
	}
	s.Exec("x <- 2; y <- 3")
	var changes struct {
		Variables *[]any
		Notes     []string
	}
	h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints/"+c.ID+"/changes", nil, &changes)
	if notes := strings.Join(changes.Notes, " "); changes.Variables != nil || !strings.Contains(notes, "no list of variables") {
		t.Errorf("variables %v, notes %s", changes.Variables, notes)
	}
	h.Want(422, "GET", h.path(p, k, "variables"), nil, nil)
	h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+c.ID+"/apply", map[string]bool{"files": false}, nil)
	text("c(x, exists('y'))", "[1] 41  0")

	id := s.Send("file.create('going'); Sys.sleep(80); file.create('gone')", "")
	going := filepath.Join(h.data, "projects", p, "files", "going")
	for deadline := time.Now().Add(20 * time.Second); !exists(going); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the cell does not begin")
		}
	}
	h.Want(204, "POST", "/projects/"+p+"/api/kernels/"+k+"/interrupt", nil, nil)
	s.Wait(id)
	text("file.exists('gone')", "[1] FALSE")
	text("x", "[1] 41")
	putNotebook(t, h, p, "r.ipynb", map[string]string{"cell": "z <- x"})
	status, b := h.Do("POST", "/api/v1/projects/"+p+"/nodes/describe", map[string]string{"notebook": "r.ipynb", "cell": "cell", "kernel": k}, nil)
	if status != 422 || !strings.Contains(string(b), "Python") {
		t.Errorf("publishing: %d %s", status, b)
	}
	h.Want(200, "POST", "/projects/"+p+"/api/kernels/"+k+"/restart", nil, nil)
	text("exists('x')", "[1] FALSE")
	text("cellarpkg::answer(); w <- 5", "[1] 42")
	withoutItsImage(t, h, p, k)
}

// withoutItsImage: a kernel whose image is not given any more goes on; only a
// restart needs the image, and leaves all as it is.
func withoutItsImage(t *testing.T, h *hub, p, k string) {
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	h.kill(syscall.SIGTERM)
	h.args = []string{"--image", testkit.Image()}
	h.start()
	if _, offered := h.specs(p); len(offered) != 1 {
		t.Errorf("offered: %v", offered)
	}
	s := h.Open(p, k)
	if got := shown(s, "w", "text/plain"); got != "[1] 5" {
		t.Errorf("without its image: w = %q", got)
	}
	if status, b := h.Do("POST", "/projects/"+p+"/api/kernels/"+k+"/restart", nil, nil); status != 422 || !strings.Contains(string(b), "ir") {
		t.Errorf("a restart without its image: %d %s", status, b)
	}
	if got := shown(s, "w", "text/plain"); got != "[1] 5" {
		t.Errorf("after a restart that was refused: w = %q", got)
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func picture(t *testing.T, s *testkit.Socket, code string) {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(shown(s, code, "image/png"), "\n", ""))
	if err != nil || !strings.HasPrefix(string(b), "\x89PNG") {
		t.Errorf("%s shows no picture: %d bytes, %v", code, len(b), err)
	}
}

// training is a small model with all that a step depends on: weights, momentum,
// the random numbers of dropout, threads of its own.
const training = `
import torch
torch.manual_seed(1)
x, y = torch.randn(256, 64), torch.randn(256, 2)
m = torch.nn.Sequential(torch.nn.Linear(64, 512), torch.nn.ReLU(), torch.nn.Dropout(.2), torch.nn.Linear(512, 2))
opt = torch.optim.SGD(m.parameters(), lr=.1, momentum=.9)
def step():
    loss = ((m(x) - y) ** 2).mean()
    opt.zero_grad(); loss.backward(); opt.step()
    return loss.item()
`

// TestTorch: training goes on after a hibernation, a move and an apply as if
// nothing had been.
func TestTorch(t *testing.T) {
	h := startHub(t, "--image", image(t, "torch"))
	p := h.newProject("Torch")
	putNotebook(t, h, p, "torch.ipynb", map[string]string{"predict": "score = float(m.eval()(torch.tensor([features], dtype=torch.float32))[0, 0])\nsize = float((torch.ones(600, 600) @ torch.ones(600, 600)).relu().sum())"})
	k := h.session(p, "torch.ipynb")
	s := h.Open(p, k)
	if got := s.Exec(training + "straight = [step() for i in range(5)]; len(set(straight)), torch.get_num_threads() > 0"); got != "(5, True)" {
		t.Fatalf("training: %s", got)
	}
	s.Exec(training + "after = [step()]")
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	s.Exec("after.append(step())")
	h.MustRun(h.path(p, k, "switch"), map[string]any{"configuration": "c1.2", "move": true}, nil)
	s.Exec("after.append(step())")
	var c struct{ ID string }
	h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k, "name": "three steps"}, &c)
	s.Exec("after.append(step()); step(); step()")
	h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+c.ID+"/apply", map[string]bool{"files": false}, nil)
	if got := s.Exec("after.append(step()); after.append(step()); after == straight or (after, straight)"); got != "True" {
		t.Errorf("training with and without interruption differs: %s", got)
	}

	s.Exec("features = [0.] * 64; m.eval(); torch.get_num_threads(), (torch.ones(600, 600) @ torch.ones(600, 600)).relu().sum()")
	want := s.Exec("print(round(float(m(torch.zeros(1, 64))[0, 0]), 5))")
	source := map[string]string{"notebook": "torch.ipynb", "cell": "predict"}
	fields := func(name, typ string) map[string]string { return map[string]string{"name": name, "type": typ} }
	var n struct{ ID, URL, Key string }
	h.MustRun("/api/v1/projects/"+p+"/nodes", map[string]any{
		"name": "score", "source": source, "inputs": []any{fields("features", "array")}, "outputs": []any{fields("score", "number"), fields("size", "number")},
	}, &n)
	caller := &testkit.Client{T: t, Base: h.Base, Token: n.Key}
	for range 2 {
		var out struct{ Score, Size float64 }
		caller.Want(200, "POST", n.URL, map[string]any{"features": make([]float64, 64)}, &out)
		var score float64
		if err := json.Unmarshal([]byte(strings.TrimSpace(want)), &score); err != nil {
			t.Fatal(err)
		}
		if d := out.Score - score; d > 1e-4 || d < -1e-4 || out.Size != 600*600*600 {
			t.Errorf("the node answers %+v, the kernel %s", out, want)
		}
	}
}
