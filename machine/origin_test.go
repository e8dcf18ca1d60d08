package machine

import (
	"bufio"
	"reflect"
	"strings"
	"testing"
)

func TestFeatures(t *testing.T) {
	for text, want := range map[string][]string{
		"processor\t: 0\nflags\t\t: fpu vme avx512f sse2 ibrs_enhanced constant_tsc avx fpu\n\nprocessor\t: 1\nflags\t\t: amx_tile\n": {"avx", "avx512f", "fpu", "sse2"},
		"Features\t: asimd fp sve\n": {"asimd", "fp", "sve"},
		"model name\t: x\n":          nil,
		"":                           nil,
	} {
		if got := features(bufio.NewScanner(strings.NewReader(text))); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	here := Here(t.Context(), t.TempDir())
	if here.Arch == "" || here.System == "" || here.CRIU != "" {
		t.Errorf("%+v", here)
	}
}
