package acceptance

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// peak starts to watch a process's memory; the function it gives tells by how many
// bytes it has grown at most since.
func peak(t testing.TB, pid int) func() int64 {
	t.Helper()
	read := func(field string) int64 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if rest, ok := strings.CutPrefix(line, field+":"); ok {
				n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				return n << 10
			}
		}
		t.Fatalf("no %s", field)
		return 0
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil { // the high-water mark begins anew
		t.Fatal(err)
	}
	before := read("VmRSS")
	return func() int64 { return read("VmHWM") - before }
}

const bounded = 64 << 20 // bytes by which the hub may grow, whatever goes through it

func (h *hub) get(path string, header map[string]string) *http.Response {
	h.t.Helper()
	r, err := http.NewRequest("GET", h.Base+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+h.Token)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { res.Body.Close() })
	return res
}

// TestLargeFiles: a gigabyte up and down, and as an archive, in constant memory.
func TestLargeFiles(t *testing.T) {
	const size = 1 << 30
	h := startHub(t)
	var p struct{ ID string }
	h.Want(201, "POST", "/api/v1/projects", map[string]string{"name": "Large"}, &p)
	base := "/projects/" + p.ID
	file := filepath.Join(h.data, "projects", p.ID, "files", "big.bin")

	grown := peak(t, h.cmd.Process.Pid)
	piece := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0}, 1<<20))
	for i := range size >> 20 {
		chunk := i + 1
		if i == size>>20-1 {
			chunk = -1
		}
		body := fmt.Sprintf(`{"type":"file","format":"base64","name":"big.bin","path":"big.bin","chunk":%d,"content":"%s"}`, chunk, piece)
		if status, b := h.Do("PUT", base+"/api/contents/big.bin", []byte(body), nil); status != 200 && status != 201 {
			t.Fatalf("chunk %d: %d %s", chunk, status, b)
		}
	}
	if st, err := os.Stat(file); err != nil || st.Size() != size {
		t.Fatalf("uploaded: %v, %v", st, err)
	}
	if n := grown(); n > bounded {
		t.Errorf("the hub grew by %d MB while 1 GB came up", n>>20)
	} else {
		t.Logf("up: the hub grew by %d MB", n>>20)
	}

	// From here a file without blocks: it is the way that counts.
	if err := errors.Join(os.Truncate(file, 0), os.Truncate(file, size)); err != nil {
		t.Fatal(err)
	}
	grown = peak(t, h.cmd.Process.Pid)
	res := h.get(base+"/files/big.bin", nil)
	if n, err := io.Copy(io.Discard, res.Body); res.StatusCode != 200 || n != size || err != nil {
		t.Errorf("down: %d, %d bytes, %v", res.StatusCode, n, err)
	}
	tag, changed := res.Header.Get("ETag"), res.Header.Get("Last-Modified")
	for name, c := range map[string]struct {
		header map[string]string
		status int
		n      int64
	}{
		"a range":                  {map[string]string{"Range": "bytes=536870912-"}, 206, size / 2},
		"its last bytes":           {map[string]string{"Range": "bytes=-5"}, 206, 5},
		"two ranges":               {map[string]string{"Range": "bytes=0-0,9-9"}, 206, -1},
		"past the end":             {map[string]string{"Range": "bytes=1073741824-"}, 416, -1},
		"too many ranges":          {map[string]string{"Range": "bytes=0-" + strings.Repeat(",0-", 2000)}, 0, -1},
		"the same by tag":          {map[string]string{"If-None-Match": tag}, 304, 0},
		"the same by time":         {map[string]string{"If-Modified-Since": changed}, 304, 0},
		"a range of this version":  {map[string]string{"If-Range": tag, "Range": "bytes=0-9"}, 206, 10},
		"a range of another":       {map[string]string{"If-Range": `"other"`, "Range": "bytes=0-9"}, 200, size},
		"only if it is this one":   {map[string]string{"If-Match": tag, "Range": "bytes=0-9"}, 206, 10},
		"only if it is another":    {map[string]string{"If-Match": `"other"`}, 412, -1},
		"only if it is still this": {map[string]string{"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 412, -1},
	} {
		res := h.get(base+"/files/big.bin", c.header)
		n, err := io.Copy(io.Discard, res.Body)
		if c.status != 0 && res.StatusCode != c.status || c.n >= 0 && n != c.n || err != nil || n > size {
			t.Errorf("%s: %d, %d bytes, %v", name, res.StatusCode, n, err)
		}
		res.Body.Close()
	}
	if status, b := h.Do("GET", base+"/api/contents/big.bin", nil, nil); status != 413 || !strings.Contains(string(b), "can be downloaded") {
		t.Errorf("inside JSON: %d %.200s", status, b)
	}
	h.Want(200, "GET", base+"/api/contents/big.bin?content=0&hash=1", nil, nil)
	if n := grown(); n > bounded {
		t.Errorf("the hub grew by %d MB while 1 GB went down", n>>20)
	} else {
		t.Logf("down: the hub grew by %d MB", n>>20)
	}

	grown = peak(t, h.cmd.Process.Pid)
	if err := os.Truncate(file, size/4); err != nil {
		t.Fatal(err)
	}
	res = h.get(base+"/directories/", nil)
	packed, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range z.File {
		found = found || strings.HasSuffix(f.Name, "/big.bin") && f.UncompressedSize64 == size/4
	}
	if !found || len(packed) > 8<<20 {
		t.Errorf("the archive of %d bytes has not the file", len(packed))
	}
	if n := grown(); n > bounded {
		t.Errorf("the hub grew by %d MB while it packed 256 MB", n>>20)
	} else {
		t.Logf("archive: the hub grew by %d MB", n>>20)
	}
}
