package store

import "testing"

// TestARangeOfUserIDsIsNeverGivenTwice: files of a deleted project that are left
// somewhere must not become another's.
func TestARangeOfUserIDsIsNeverGivenTwice(t *testing.T) {
	s, _ := open(t)
	old := addProject(t, s, "old")
	ok(t, s.DeleteProject(t.Context(), "old"))
	if now := addProject(t, s, "new"); now.UIDBase <= old.UIDBase {
		t.Errorf("the range of a deleted project, %d, was given again: %d", old.UIDBase, now.UIDBase)
	}
}
