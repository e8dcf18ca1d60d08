package support

import (
	"os/exec"
	"testing"
)

// The bar that is made of pip's raw progress, whatever the pieces it comes in.
const progressTest = `
import sys
sys.path.insert(0, "python/cellar_kernel")
import pip
raw = "Collecting a\n  Downloading a.whl (4.0 MB)\nProgress 1000000 of 4000000\nProgress 2000000 of 4000000\nProgress 4000000 of 4000000\nInstalling a\nProg\nProgress of sorts\n"
def shown(step):
    times = iter(range(1000))
    p = pip.Progress(clock=lambda: next(times))
    return "".join(p.feed(raw[i:i + step]) for i in range(0, len(raw), step)) + p.feed("", True)
whole = shown(len(raw))
for step in (1, 2, 3, 7, 50):
    assert shown(step) == whole, (step, shown(step), whole)
lines = whole.split("\n")
assert lines[:2] == ["Collecting a", "  Downloading a.whl (4.0 MB)"], lines
assert lines[3:] == ["Installing a", "Prog", "Progress of sorts", ""], lines
drawn = lines[2].split("\r")
assert len(drawn) == 4 and drawn[0] == "", drawn
assert drawn[1].rstrip().endswith("1.0/4.0 MB"), drawn
assert "2.0/4.0 MB, 1.0 MB/s, 0:03 left" in drawn[2], drawn
assert drawn[3].rstrip().endswith("4.0/4.0 MB, 1.5 MB/s") and len(drawn[3]) >= len(drawn[2]), drawn
p = pip.Progress()
assert p.feed("Progress 5 of 0\n") + p.feed("", True) == "\r  0.0 MB\n"
assert pip.Progress().feed("no line end", True) == "no line end"
for command, want in {"ls": False, "pip install 'x": False, "true; pip install x": False, "pip install x && ls": False, "": False}.items():
    assert pip.is_pip(command) == want, command
`

func TestPipProgress(t *testing.T) {
	if out, err := exec.Command("python3", "-c", progressTest).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
