package server

import (
	"encoding/json"
	"testing"
)

func TestPermitted(t *testing.T) {
	rows := []struct{ asked, want string }{
		{`{"contents":["read","write","spoon"],"nothing":["read"]}`, `{"contents":["read","write"],"nothing":[]}`},
		{`{}`, `{}`},
		{`[`, ""}, {`null`, ""}, {`{"contents":"read"}`, ""},
	}
	for _, row := range rows {
		got, err := permitted(row.asked)
		if row.want == "" {
			if err == nil {
				t.Errorf("%s is answered by %v", row.asked, got)
			}
			continue
		}
		if b, _ := json.Marshal(got); err != nil || string(b) != row.want {
			t.Errorf("%s: %s, %v", row.asked, b, err)
		}
	}
	if all, err := permitted(""); err != nil || len(all["kernels"]) != 3 {
		t.Errorf("all permissions are %v, %v", all, err)
	}
}
