package acceptance

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cellar/internal/testkit"
)

// export reads a checkpoint as a file.
func (h *hub) export(p, c, query string) []byte {
	h.t.Helper()
	return h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints/"+c+"/export"+query, nil, nil)
}

// importAs imports a file and waits for the project.
func importAs(c *testkit.Client, name string, b []byte) (made copied) {
	c.T.Helper()
	c.MustRun("/api/v1/checkpoints/import?name="+name, b, &made)
	return made
}

// nothingImporting fails when what was received is still there.
func (h *hub) nothingImporting() {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		list, err := os.ReadDir(filepath.Join(h.data, "imports"))
		if err != nil && !os.IsNotExist(err) {
			h.t.Fatal(err)
		}
		if len(list) == 0 {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%d imports are left", len(list))
		}
	}
}

// TestArtifact: a checkpoint comes back from a file; whole where it was frozen,
// and without the process anywhere else, or when anybody touched it.
func TestArtifact(t *testing.T) {
	h := startHub(t, "--store-after", "2s", "--autosave", "0")
	p, _ := h.project("Old")
	putNotebook(t, h, p, "work.ipynb", map[string]string{"a": "x = 41"})
	k := h.session(p, "work.ipynb")
	s := h.Open(p, k)
	s.Exec(aPackageIndex)
	if got := s.Exec("%pip install -q --index-url http://127.0.0.1:8099/simple cellarpkg"); strings.Contains(strings.ToLower(got), "error") {
		t.Fatal(got)
	}
	s.Exec(useLibrary)
	s.Exec("import os; x = 41; word = 'in-the-' + 'memory'; open('data.txt', 'w').write('data'); os.symlink('data.txt', 'to-data'); os.symlink('/etc/passwd', 'out'); pid = os.getpid()\nos.makedirs('/home/cellar/.ssh'); open('/home/cellar/.ssh/id', 'w').write('private')")
	c := h.keepFiled(p, k, "To a file")
	var only struct{ ID string }
	h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]any{"kernel": k, "name": "Only variables", "variables": true}, &only)
	h.awaitStored(p)
	whole, bare, variables := h.export(p, c.ID, ""), h.export(p, c.ID, "?state=false"), h.export(p, only.ID, "")
	t.Logf("with the state %d bytes, without %d, variables alone %d", len(whole), len(bare), len(variables))
	if again := h.export(p, c.ID, "?state=false"); !bytes.Equal(again, bare) {
		t.Error("exported twice, it is not the same")
	}
	if bytes.Contains(bare, []byte("in-the-memory")) || !bytes.Contains(bare, []byte("application/vnd.cellar.checkpoint.v1")) {
		t.Error("without the state there is a variable in it, or it is no artifact")
	}

	bob := h.person("bob")
	made := importAs(bob, "Back", whole)
	if made.Project != "back" || made.Notebook != "work.ipynb" || made.Files < 3 || made.Kernel == "" {
		t.Errorf("%+v", made)
	}
	one := bob.Open(made.Project, made.Kernel)
	if got := one.Exec("x, word, os.getpid() == pid, open('data.txt').read(), open('to-data').read(), os.getuid()"); got != "(41, 'in-the-memory', True, 'data', 'data', 1000)" {
		t.Errorf("in the imported project: %s", got)
	}
	if got := one.Exec(stillUsed); got != used {
		t.Errorf("a library: %s", got)
	}
	if _, err := os.Lstat(h.inFiles(made.Project, "out")); !os.IsNotExist(err) || !slices.ContainsFunc(made.Notes, func(n string) bool { return strings.HasPrefix(n, "out was left out") }) {
		t.Errorf("a link that leads out: %v, %v", err, made.Notes)
	}
	if _, err := os.Stat(filepath.Join(h.data, "projects", made.Project, "home", ".ssh")); !os.IsNotExist(err) {
		t.Errorf("a key of the old home: %v", err)
	}
	h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil) // it stands alone
	bob.MustRun(h.path(made.Project, made.Kernel, "hibernate"), nil, nil)
	if got := one.Exec("x"); got != "41" {
		t.Errorf("after it slept: %s", got)
	}
	if left := importAs(bob, "Bare", bare); left.Kernel != "" || left.Files < 3 || h.read(left.Project, "data.txt") != "data" {
		t.Errorf("without the state: %+v", left)
	}

	// Touched, it is somebody else's; damaged, it is none.
	at := bytes.Index(whole, []byte("io.cellar.signature"))
	forged := bytes.Clone(whole)
	forged[at+23] ^= 1 // a digit of the signature
	if got := importAs(bob, "Forged", forged); got.Kernel != "" || !noted(got.Notes, "only what it has frozen itself") {
		t.Errorf("a forged signature: %+v", got)
	}
	broken := bytes.Clone(whole)
	broken[len(broken)/2] ^= 1
	if status, b := bob.Do("POST", "/api/v1/checkpoints/import", broken, nil); status != 400 || !strings.Contains(string(b), "bad_artifact") {
		t.Errorf("a bit is wrong: %d %s", status, b)
	}
	if status, b := bob.Do("POST", "/api/v1/checkpoints/import", whole[:len(whole)/2], nil); status != 400 || !strings.Contains(string(b), "bad_artifact") {
		t.Errorf("half of it: %d %s", status, b)
	}
	cutOff(t, h, bob, whole)
	h.nothingImporting()
	elsewhere(t, h, whole, variables)
}

func noted(notes []string, words string) bool {
	return slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, words) })
}

// cutOff sends half of a file and goes away.
func cutOff(t *testing.T, h *hub, bob *testkit.Client, whole []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", bob.Base+"/api/v1/checkpoints/import", &half{whole: whole})
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(len(whole))
	r.Header.Set("Authorization", "Bearer "+bob.Token)
	if res, err := http.DefaultClient.Do(r); err == nil {
		res.Body.Close()
		t.Errorf("half of a request: %d", res.StatusCode)
	}
	h.nothingImporting()
	if status, _ := bob.Do("GET", "/api/v1/projects/to-a-file", nil, nil); status != 404 {
		t.Errorf("a project of half a file: %d", status)
	}
}

// half is a body whose sender goes away in the middle.
type half struct {
	whole []byte
	at    int
}

func (r *half) Read(b []byte) (int, error) {
	if r.at >= len(r.whole)/2 {
		return 0, os.ErrClosed
	}
	n := copy(b, r.whole[r.at:])
	r.at += n
	return n, nil
}

// elsewhere imports into another server, by the command.
func elsewhere(t *testing.T, h *hub, whole, variables []byte) {
	h.kill(syscall.SIGTERM)
	other := startHub(t, "--autosave", "0")
	run := func(out any, args ...string) {
		t.Helper()
		cmd := exec.Command(binary(), append([]string{"checkpoint"}, append(args, "--server", other.Base, "--json")...)...)
		cmd.Env = append(os.Environ(), "CELLAR_TOKEN="+other.Token)
		b, err := cmd.Output()
		if err == nil && out != nil {
			err = json.Unmarshal(b, out)
		}
		if err != nil {
			t.Fatalf("%v: %v %s", args, err, b)
		}
	}
	file := filepath.Join(t.TempDir(), "c.tar")
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	var made copied
	run(&made, "import", file, "--name", "From elsewhere")
	if made.Kernel != "" || made.Notebook != "work.ipynb" || other.read(made.Project, "data.txt") != "data" || !noted(made.Notes, "only what it has frozen itself") || !noted(made.Notes, "Packages came with it") {
		t.Errorf("from elsewhere: %+v", made)
	}
	if own := other.packages(made.Project).Own; own != 1 {
		t.Errorf("%d packages", own)
	}
	if list, err := os.ReadDir(filepath.Join(other.data, "vault")); err != nil || len(list) != 0 {
		t.Errorf("checkpoints of a stranger's process: %v %v", list, err)
	}
	// Variables that were kept one by one come along; they are made again when the person says so.
	if err := os.WriteFile(file, variables, 0o600); err != nil {
		t.Fatal(err)
	}
	made = copied{}
	run(&made, "import", file, "--name", "Variables")
	if made.Kernel == "" || !noted(made.Notes, "runs code that is in the file") || other.kernel(made.Project, made.Kernel).State != "dead" {
		t.Errorf("variables: %+v", made)
	}
	var list struct{ Items []kept }
	other.Want(200, "GET", "/api/v1/projects/"+made.Project+"/checkpoints", nil, &list)
	if len(list.Items) != 1 {
		t.Fatalf("%+v", list.Items)
	}
	var brought struct{ Came int }
	other.MustRun("/api/v1/projects/"+made.Project+"/checkpoints/"+list.Items[0].ID+"/apply", map[string]any{}, &brought)
	if got := other.Open(made.Project, made.Kernel).Exec("x, word"); got != "(41, 'in-the-memory')" || brought.Came < 2 {
		t.Errorf("variables brought back: %s, %d came", got, brought.Came)
	}
	// And out again, by the command.
	again := filepath.Join(t.TempDir(), "again.tar")
	run(nil, "export", list.Items[0].ID, again, "--project", made.Project)
	if st, err := os.Stat(again); err != nil || st.Mode().Perm() != 0o600 || st.Size() < 1000 {
		t.Errorf("exported by the command: %v %v", st, err)
	}
	other.nothingImporting()
}

// TestImportFaults is the table of an import's steps and failures: nothing is left
// over, and the file can be imported again.
func TestImportFaults(t *testing.T) {
	h := startHub(t, "--autosave", "0")
	p, _ := h.project("Old")
	putNotebook(t, h, p, "work.ipynb", map[string]string{"a": "x = 41"})
	k := h.session(p, "work.ipynb")
	h.Open(p, k).Exec("import os; x = 41; open('big.bin', 'wb').write(os.urandom(8 << 20))")
	c := h.keepFiled(p, k, "half")
	whole := h.export(p, c.ID, "")
	h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
	for _, step := range []string{"import.received", "import.filled"} {
		for _, what := range []string{"fail", "kill", "gone"} {
			if step == "import.received" && what == "gone" {
				continue // there is no operation yet; see cutOff
			}
			t.Run(step+"/"+what, func(t *testing.T) {
				h.T, h.t = t, t
				importFault(t, h, whole, step, what)
			})
		}
	}
	for name, place := range map[string]string{"while it comes": "imports", "while it is written": "projects", "while the process is written": "vault"} {
		t.Run("the disk fills "+name, func(t *testing.T) {
			h.T, h.t = t, t
			dir := filepath.Join(h.data, place)
			if err := os.MkdirAll(dir, 0o711); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m,mode=711", "none", dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			defer exec.Command("umount", "-l", dir).Run()
			status, b := h.Do("POST", "/api/v1/checkpoints/import", whole, nil)
			if status == 202 {
				b, _ = json.Marshal(h.Await(idOf(b)))
			}
			if !strings.Contains(string(b), "disk is full") {
				t.Errorf("%d %s", status, b)
			}
			h.nothingLeft(0)
			if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
				t.Errorf("left over: %v %v", list, err)
			}
			exec.Command("umount", "-l", dir).Run()
			h.importedWhole(whole)
		})
	}
}

func importFault(t *testing.T, h *hub, whole []byte, step, what string) {
	h.kill(syscall.SIGTERM)
	args := h.args
	h.args = append([]string{"--fault", step + "=" + what}, args...)
	h.start()
	defer func() { h.args = args }()
	status, b, err := h.Try("POST", "/api/v1/checkpoints/import", whole)
	switch {
	case what == "kill":
		h.cmd.Wait()
		h.cmd = nil
		h.args = args
		h.start()
	case err != nil:
		t.Fatal(err)
	case step == "import.received":
		if status != 500 {
			t.Errorf("%d %s", status, b)
		}
	default:
		if o := h.Await(idOf(b)); o.Error == nil {
			t.Error("it succeeded although it failed, or nobody waited for it any more")
		}
	}
	h.nothingLeft(0)
	h.importedWhole(whole)
}

// nothingLeft waits until there is no project and no folder of an import.
func (h *hub) nothingLeft(vaults int) {
	h.t.Helper()
	h.nothingImporting()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		status, _ := h.Do("GET", "/api/v1/projects/half", nil, nil)
		_, err := os.Stat(filepath.Join(h.data, "projects", "half"))
		list, _ := os.ReadDir(filepath.Join(h.data, "vault"))
		if status == 404 && os.IsNotExist(err) && len(list) == vaults {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("left over: %d, %v, %d checkpoints", status, err, len(list))
		}
	}
}

func (h *hub) importedWhole(whole []byte) {
	h.t.Helper()
	made := importAs(h.Client, "half", whole)
	if got := h.Open(made.Project, made.Kernel).Exec("x, os.path.getsize('big.bin')"); got != "(41, 8388608)" {
		h.t.Errorf("imported after all: %s", got)
	}
	h.Want(204, "DELETE", "/api/v1/projects/"+made.Project, nil, nil)
}
