package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cellar/node"
	"cellar/server/hub"
	"cellar/server/store"
)

// keyed is a door with a node that is paused: who is let in to it is told so.
type keyed struct {
	*door
	owner *visitor
}

func newKeyed(t *testing.T) *keyed {
	d := newDoor(t)
	ada := d.user("ada", "")
	_, token, err := d.hub.AddToken(t.Context(), ada, "t")
	if err == nil {
		_, err = d.hub.Store.AddProject(t.Context(), hub.Project{ID: "p", Name: "P", Owner: ada.ID, CreatedAt: time.Now()})
	}
	for _, id := range []string{"n", "m"} {
		if err == nil {
			err = d.hub.Store.AddRevision(t.Context(), hub.Node{ID: id, Project: "p", Name: "node-" + id, Paused: true, CreatedAt: time.Now()},
				hub.Revision{Number: 1, Files: 1, Inputs: []byte("[]"), Outputs: []byte("[]"), CreatedAt: time.Now()})
		}
	}
	if err == nil {
		a := hub.Alias{ID: "a", Project: "p", Name: "best", CreatedAt: time.Now()}
		a.Setting = hub.Setting{Number: 1, Targets: []node.Share{{Node: "n", Percent: 100}}, At: time.Now()}
		err = d.hub.Store.AddSetting(t.Context(), a, 10)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &keyed{d, &visitor{door: d, address: "192.0.2.1", token: token, cookies: map[string]string{}}}
}

func (k *keyed) ask(method, path string, in any) (status int, v hub.KeyView, code string) {
	k.t.Helper()
	b, _ := json.Marshal(in)
	res := k.owner.do(method, "/api/v1/projects/p/keys"+path, "application/json", b)
	out, _ := io.ReadAll(res.Body)
	var p problem
	json.Unmarshal(out, &v)
	json.Unmarshal(out, &p)
	return res.StatusCode, v, p.Code
}

// call tells the status and the code of a call; 503 node_paused means let in.
func (k *keyed) call(id, key, from string) string {
	v := &visitor{door: k.door, address: from, token: key, cookies: map[string]string{}}
	path := "/nodes/" + id + "/execute"
	if id == "a" {
		path = "/aliases/a/execute"
	}
	res := v.do("POST", path, "application/json", []byte("{}"))
	b, _ := io.ReadAll(res.Body)
	var p problem
	json.Unmarshal(b, &p)
	if res.Header.Get("Set-Cookie") != "" {
		k.t.Errorf("a caller gets a cookie: %s", res.Header.Get("Set-Cookie"))
	}
	return fmt.Sprint(res.StatusCode, " ", p.Code)
}

const letIn = "503 node_paused"

func TestKeys(t *testing.T) {
	k := newKeyed(t)
	for _, in := range []hub.KeyRequest{{Name: "", Scope: []string{"n"}}, {Name: "x"}, {Name: "x", Scope: []string{"none"}}, {Name: "x", Scope: []string{"n"}, Rate: -1}} {
		if status, _, _ := k.ask("POST", "", in); status < 400 || status > 499 {
			t.Errorf("%+v: %d", in, status)
		}
	}
	status, v, _ := k.ask("POST", "", hub.KeyRequest{Name: "shop", Scope: []string{"node-n", "best"}})
	if status != 201 || v.Key == "" || len(v.Scope) != 2 || v.UsedAt != nil {
		t.Fatalf("%d %+v", status, v)
	}
	_, other, _ := k.ask("POST", "", hub.KeyRequest{Name: "other", Scope: []string{"m"}})
	for _, c := range []struct{ id, key, want string }{
		{"n", v.Key, letIn}, {"a", v.Key, letIn}, {"m", v.Key, "403 wrong_key"}, {"n", other.Key, "403 wrong_key"}, {"m", other.Key, letIn},
		{"none", v.Key, "403 wrong_key"}, {"n", "", "401 not_signed_in"}, {"n", v.Key[:len(v.Key)-1], "403 wrong_key"}, {"n", k.owner.token, "403 wrong_key"},
	} {
		if got := k.call(c.id, c.key, "192.0.2.7"); got != c.want {
			t.Errorf("%s: %s, want %s", c.id, got, c.want)
		}
	}
	var list struct{ Items []hub.KeyView }
	res := k.owner.do("GET", "/api/v1/projects/p/keys?for=n", "", nil)
	b, _ := io.ReadAll(res.Body)
	json.Unmarshal(b, &list)
	if len(list.Items) != 1 || list.Items[0].CallsToday != 2 || list.Items[0].UsedAt == nil || strings.Contains(string(b), v.Key) || list.Items[0].Author != "ada" {
		t.Errorf("%s", b)
	}

	// A rotation: both are good, until the old one is not.
	status, next, _ := k.ask("POST", "/"+v.ID+"/rotate", map[string]int{"overlap_seconds": 3600})
	if status != 200 || next.Key == "" || next.Key == v.Key || next.OldUntil == nil {
		t.Fatalf("%d %+v", status, next)
	}
	if old, now := k.call("n", v.Key, "192.0.2.7"), k.call("n", next.Key, "192.0.2.7"); old != letIn || now != letIn {
		t.Errorf("while both are good: %s, %s", old, now)
	}
	_, last, _ := k.ask("POST", "/"+v.ID+"/rotate", map[string]int{"overlap_seconds": 0})
	if before, old, now := k.call("n", v.Key, "192.0.2.7"), k.call("n", next.Key, "192.0.2.7"), k.call("n", last.Key, "192.0.2.7"); before != "403 wrong_key" || old != "403 wrong_key" || now != letIn {
		t.Errorf("after that: %s, %s, %s", before, old, now)
	}

	// Limits; what was spent outlives a change of them.
	if status, v, _ := k.ask("PUT", "/"+v.ID, hub.KeyRequest{Name: "shop", Scope: []string{"n"}, Quota: 6}); status != 200 || v.Key != "" {
		t.Errorf("%d %+v", status, v)
	}
	if got := k.call("a", last.Key, "192.0.2.7"); got != "403 wrong_key" {
		t.Errorf("out of scope: %s", got)
	}
	if first, second := k.call("n", last.Key, "192.0.2.7"), k.call("n", last.Key, "192.0.2.7"); first != letIn || second != "429 quota_used_up" {
		t.Errorf("with one call left: %s, %s", first, second)
	}
	k.ask("PUT", "/"+v.ID, hub.KeyRequest{Name: "shop", Scope: []string{"n"}, Rate: 0.001})
	if first, second := k.call("n", last.Key, "192.0.2.7"), k.call("n", last.Key, "192.0.2.7"); first != letIn || second != "429 rate_exceeded" {
		t.Errorf("one call at a time: %s, %s", first, second)
	}
	if status, _, _ := k.ask("DELETE", "/"+v.ID, nil); status != 204 {
		t.Errorf("revoked: %d", status)
	}
	if got := k.call("n", last.Key, "192.0.2.7"); got != "403 wrong_key" {
		t.Errorf("a revoked key: %s", got)
	}
	if status, _, code := k.ask("DELETE", "/"+v.ID, nil); status != 404 || code != "key_not_found" {
		t.Errorf("revoked twice: %d %s", status, code)
	}
}

// Ten thousand wrong keys from one address are told to stop, keep nobody with a
// right one out, and leave nothing in memory but a counter.
func TestTenThousandWrongKeys(t *testing.T) {
	k := newKeyed(t)
	_, v, _ := k.ask("POST", "", hub.KeyRequest{Name: "shop", Scope: []string{"n"}})
	counts := map[string]int{}
	for i := range 10_000 {
		counts[k.call("n", fmt.Sprint("cellar_", i), "192.0.2.9")]++
		if i%1000 == 0 {
			if here, there := k.call("n", v.Key, "192.0.2.9"), k.call("n", v.Key, "192.0.2.10"); here != letIn || there != letIn {
				t.Fatalf("with the right key after %d wrong ones: %s, elsewhere %s", i, here, there)
			}
		}
	}
	if counts["403 wrong_key"] != 50 || counts["429 too_many_attempts"] != 9950 {
		t.Errorf("%v", counts)
	}
	if got := k.call("n", "cellar_wrong", "192.0.2.10"); got != "403 wrong_key" {
		t.Errorf("a wrong key from elsewhere: %s", got)
	}
}

// A public alias answers without a key, and with any.
func TestAPublicAlias(t *testing.T) {
	k := newKeyed(t)
	a, err := k.hub.Store.Alias(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	a.Number, a.Public = 2, true
	if err := k.hub.Store.AddSetting(t.Context(), a, 10); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "wrong"} {
		if got := k.call("a", key, "192.0.2.7"); got != letIn {
			t.Errorf("with the key %q: %s", key, got)
		}
	}
}

// The secrets are in the database as hashes alone.
func TestSecretsAreNotStored(t *testing.T) {
	k := newKeyed(t)
	_, v, _ := k.ask("POST", "", hub.KeyRequest{Name: "shop", Scope: []string{"n"}})
	list, err := k.hub.Store.(*store.Store).CallKeys(t.Context())
	if err != nil || len(list) != 1 || !bytes.Equal(list[0].Hash, hub.HashSecret(v.Key)) {
		t.Fatalf("%+v %v", list, err)
	}
	if strings.Contains(fmt.Sprintf("%+v", list), v.Key) {
		t.Error("the secret is on record")
	}
}

func TestAKeyLetsInAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &node.Spending{}
		a := node.Allowance{Rate: 2}
		for range 2 {
			s.Take(a, time.Now())
		}
		wait, err := s.Take(a, time.Now())
		if err == nil {
			t.Fatal("a third call in a second")
		}
		time.Sleep(wait)
		if _, err := s.Take(a, time.Now()); err != nil {
			t.Error("after the time it was told to wait:", err)
		}
	})
}
