package acceptance

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"cellar/internal/testkit"
)

// imageWithoutKernel writes an OCI archive whose only file is a greeting.
func imageWithoutKernel(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, err := range []error{
		w.WriteHeader(&tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}),
		w.WriteHeader(&tar.Header{Name: "etc/motd", Typeflag: tar.TypeReg, Mode: 0o644, Size: 6}),
		second(w.Write([]byte("hello\n"))),
		w.Close(),
		os.WriteFile(filepath.Join(dir, "layer.tar"), layer.Bytes(), 0o600),
		os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"Env":["A=b"]}`), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "tiny.oci.tar")
	cmd := exec.Command("go", "run", "cellar/images/ociwrite", "-layer", filepath.Join(dir, "layer.tar"), "-config", filepath.Join(dir, "config.json"),
		"-name", "test/tiny:1", "-arch", runtime.GOARCH, "-out", out)
	cmd.Dir = testkit.Root()
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ociwrite: %v: %s", err, b)
	}
	return out
}

func second(_ int, err error) error { return err }

// TestImagesOfNoUse: the hub is up, so that people reach their files, and says at
// every place where a kernel would be needed why there is none.
func TestImagesOfNoUse(t *testing.T) {
	testkit.Containers(t)
	for name, c := range map[string]struct{ file, code, says string }{
		"without a kernel": {imageWithoutKernel(t), "image_without_kernel", "holds no Jupyter kernel"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, "--image", c.file)
			h.launch()
			h.Token = h.token()
			refused := func(where string, status int, b []byte, err error) {
				t.Helper()
				var p struct{ Code, Reason, Detail, Message string }
				json.Unmarshal(b, &p)
				if err != nil || status != 503 || p.Code+p.Reason == "" || !strings.Contains(p.Detail+p.Message, c.says) {
					t.Errorf("%s: %d %s %v", where, status, b, err)
				}
				if where != "/readyz" && p.Code != c.code && p.Reason != c.code {
					t.Errorf("%s has another code: %s", where, b)
				}
			}
			status, b, err := h.Try("GET", "/readyz", nil)
			refused("/readyz", status, b, err)
			var p struct{ ID string }
			h.Want(201, "POST", "/api/v1/projects", map[string]string{"name": "Files"}, &p)
			h.Want(200, "GET", "/projects/"+p.ID+"/api/contents/tour.ipynb", nil, nil)
			for what, body := range map[string]any{
				"sessions":  map[string]any{"path": "tour.ipynb", "name": "tour.ipynb", "type": "notebook", "kernel": map[string]string{"name": "python3"}},
				"kernels":   map[string]string{"name": "python3"},
				"terminals": map[string]string{},
			} {
				status, b, err := h.Try("POST", "/projects/"+p.ID+"/api/"+what, body)
				refused(what, status, b, err)
			}
			var found struct {
				Items []struct{ Code, Status, Detail string }
			}
			h.Want(200, "GET", "/api/v1/doctor", nil, &found)
			for _, f := range found.Items {
				if f.Code == "image" && (f.Status != "fail" || !strings.Contains(f.Detail, c.says)) {
					t.Errorf("doctor: %+v", f)
				}
			}
			log, err := os.ReadFile(h.log.Name())
			if err != nil || !bytes.Contains(log, []byte("no kernel can be started")) || !bytes.Contains(log, []byte("code="+c.code)) || !bytes.Contains(log, []byte(filepath.Base(c.file))) {
				t.Errorf("the log does not say so: %v", err)
			}

			// With a good image the same data folder works again.
			h.kill(syscall.SIGTERM)
			h.args = nil
			h.start()
		})
	}
}

// TestDoctorLooksAtTheImageThatIsUsed: the archive alone says nothing.
func TestDoctorLooksAtTheImageThatIsUsed(t *testing.T) {
	h := startHub(t)
	image := func(want string, args ...string) {
		t.Helper()
		out, _ := exec.Command(binary(), append([]string{"doctor", "--json", "--data", h.data}, args...)...).Output()
		var list struct {
			Items []struct{ Code, Status, Detail string }
		}
		if err := json.NewDecoder(bytes.NewReader(out)).Decode(&list); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, f := range list.Items {
			if f.Code == "image" && f.Status != want {
				t.Errorf("%v: %+v, want %s", args, f, want)
			}
		}
	}
	none := "base=" + filepath.Join(t.TempDir(), "none.tar") // by the name it was imported under
	image("ok")
	image("ok", "--image", none)
	h.kill(syscall.SIGTERM)
	if out, err := exec.Command(binary(), "down", "--data", h.data, "--kill").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	image("ok", "--image", none) // containerd is down, its store is there
	if err := os.RemoveAll(filepath.Join(h.data, "containerd")); err != nil {
		t.Fatal(err)
	}
	image("fail", "--image", none)
	image("warn")
}

// TestAFileThatIsNoArchive ends the start at once, with a sentence and a code.
func TestAFileThatIsNoArchive(t *testing.T) {
	text := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("this is no archive\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHub(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary(), "serve", "--data", h.data, "--listen", h.addr, "--image", text).CombinedOutput()
	for _, want := range []string{"is not an OCI archive", "image_not_an_archive", text} {
		if err == nil || ctx.Err() != nil || !bytes.Contains(out, []byte(want)) {
			t.Errorf("no %q: %v: %s", want, err, out)
		}
	}
	h.start() // with the good one
}
