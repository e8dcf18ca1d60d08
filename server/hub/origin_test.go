package hub

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"cellar/internal/fault"
)

func TestOutlook(t *testing.T) {
	data := t.TempDir()
	if err := os.MkdirAll(filepath.Join(data, "parts", "here"), 0o755); err != nil {
		t.Fatal(err)
	}
	here := NewOrigin(Origin{Arch: "amd64", Features: []string{"avx", "avx2", "sse2"}, System: "6.12.9-amd64", CRIU: "4.2.1"})
	origins := map[string]Origin{}
	from := func(o Origin) string {
		o = NewOrigin(o)
		origins[o.ID] = o
		return o.ID
	}
	list := []Checkpoint{
		{Image: "a", Parts: "here", Origin: from(here)},
		{Image: "a", Parts: "here", Origin: from(Origin{Arch: "amd64", Features: []string{"avx"}, System: "5.10.0", CRIU: "3.9"})},
		{Image: "a", Parts: "here", Origin: from(Origin{Arch: "amd64", Features: []string{"avx", "avx512f"}})},
		{Image: "a", Parts: "here", Origin: from(Origin{Arch: "arm64"})},
		{Image: "a", Parts: "here", Origin: from(Origin{Arch: "amd64", CRIU: "4.10"})},
		{Image: "a", Parts: "here", Origin: from(Origin{Arch: "amd64", System: "6.12.10-amd64"})},
		{Image: "a", Parts: "here"},
		{Image: "b", Parts: "here"},
		{Image: "a", Parts: "gone"},
		{Image: "b", Parts: "gone", Kind: KindVariables},
	}
	want := Thaws{All: 10, Variables: 1, Unknown: 1,
		Not:      map[string]int{"another processor": 2, "the image b is gone": 1, "the keeper gone is gone": 1},
		Doubtful: map[string]int{"made by CRIU 4.10": 1, "made on Linux 6.12.10-amd64": 1},
	}
	if got := Outlook(list, origins, here, data, func(ref string) bool { return ref == "a" }); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	h := &Hub{Config: Config{Origin: here}, origins: origins}
	if err := h.mayThaw(list[2]); fault.CodeOf(err) != "other_processor" || !strings.Contains(fault.Sentence(err), "a processor with avx512f,") {
		t.Error(err)
	}
	if err := h.mayThaw(list[1]); err != nil {
		t.Error(err)
	}
	if got := few([]string{"a", "b", "c", "d", "e", "f"}); got != "a, b, c, d and 2 more" {
		t.Error(got)
	}
}

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"4.2", "4.10", true}, {"4.10", "4.2", false}, {"4.2", "4.2", false}, {"4.2", "4.2.1", true}, {"", "4", false}, {"4", "", false},
		{"6.12.9-amd64", "6.12.9-cloud", false}, {"6.1.0-25-amd64", "6.1.0-30-amd64", false},
	} {
		if got := older(c.a, c.b); got != c.want {
			t.Errorf("older(%q, %q) is %v", c.a, c.b, got)
		}
	}
}
