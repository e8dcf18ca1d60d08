package server

import (
	"encoding/json"
	"runtime"
	"testing"

	"cellar/server/hub"
)

// Everyone signed in sees the whole list, and what of it the machine has.
func TestConfigurationsOverHTTP(t *testing.T) {
	d := newDoor(t)
	d.hub.MachineMemory = 8 << 30
	d.hub.Configurations = []hub.Configuration{
		{Name: "small", CPUs: 1, Memory: 1 << 30, UnitsPerSecond: 0.5, Description: "For a look"},
		{Name: "wide", CPUs: runtime.NumCPU() + 1, Memory: 1 << 30, UnitsPerSecond: 2}, {Name: "deep", CPUs: 1, Memory: 9 << 30, UnitsPerSecond: 3},
	}
	_, token, err := d.hub.AddToken(t.Context(), d.user("ada", ""), "t")
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{door: d, address: "192.0.2.1", token: token, cookies: map[string]string{}}
	var list struct{ Items []map[string]any }
	if err := json.NewDecoder(v.do("GET", "/api/v1/configurations", "", nil).Body).Decode(&list); err != nil || len(list.Items) != 3 {
		t.Fatalf("%v, %v", list, err)
	}
	for i, available := range []bool{true, false, false} {
		if list.Items[i]["available"] != available || list.Items[i]["name"] != d.hub.Configurations[i].Name {
			t.Errorf("%v", list.Items[i])
		}
	}
	if s := list.Items[0]; s["description"] != "For a look" || s["cpus"] != 1.0 || s["memory"] != float64(1<<30) || s["units_per_second"] != 0.5 {
		t.Errorf("%v", s)
	}
	if _, there := list.Items[1]["description"]; there {
		t.Error("an empty description is sent")
	}
	v.token = ""
	if status, code := v.api("GET", "/configurations", nil); status != 401 || code != "not_signed_in" {
		t.Errorf("not signed in: %d %s", status, code)
	}
}
