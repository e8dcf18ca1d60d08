package machine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What counts is what the hub uses: the imported image, and the archive only for
// as long as there is none.
func TestImageFinding(t *testing.T) {
	there := filepath.Join(t.TempDir(), "base.oci.tar")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	gone := there + ".none"
	for name, c := range map[string]struct {
		image        Image
		status, says string
	}{
		"imported, with its archive":    {Image{Archive: there, Imported: "a@b", Stored: true}, OK, "imported"},
		"imported, the archive is gone": {Image{Archive: gone, Imported: "a@b", Stored: true}, OK, "archive is gone"},
		"the same while it is used":     {Image{Archive: gone, Imported: "a@b", Stored: true, Used: true}, OK, "archive is gone"},
		"built, not imported yet":       {Image{Archive: there}, OK, "first start"},
		"neither":                       {Image{Archive: gone}, Fail, "no archive"},
		"lost while nothing runs":       {Image{Archive: there, Imported: "a@b"}, Warn, "lost"},
		"lost, and the archive with it": {Image{Archive: gone, Imported: "a@b"}, Fail, "no archive"},
		"lost while it is used":         {Image{Archive: there, Imported: "a@b", Used: true}, Fail, "no kernel can be started"},
		"lost while used, archive gone": {Image{Archive: gone, Imported: "a@b", Used: true}, Fail, "archive is gone"},
		"of no use":                     {Image{Archive: there, Imported: "a@b", Stored: true, Used: true, Trouble: "It holds no kernel."}, Fail, "It holds no kernel."},
		"nobody says anything about it": {Image{}, OK, "not looked at"},
	} {
		f := Doctor{Images: []Image{c.image}}.image()
		if f.Code != "image" || f.Status != c.status || !strings.Contains(f.Detail, c.says) || (f.Fix == "") != (c.status == OK) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
