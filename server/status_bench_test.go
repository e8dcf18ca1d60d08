package server

import (
	"net/http/httptest"
	"testing"
	"time"

	"cellar/server/hub"
)

func BenchmarkStatus(b *testing.B) {
	d := newDoor(b)
	ada := d.user("ada", "")
	if _, err := d.hub.Store.AddProject(b.Context(), hub.Project{ID: "p", Name: "p", Owner: ada.ID, CreatedAt: time.Now()}); err != nil {
		b.Fatal(err)
	}
	_, token, err := d.hub.AddToken(b.Context(), ada, "t")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("GET", "/projects/p/api/status", nil)
		r.Header.Set("Authorization", "token "+token)
		w := httptest.NewRecorder()
		d.handler.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}
