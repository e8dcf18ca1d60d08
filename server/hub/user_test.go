package hub_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cellar/internal/fault"
	"cellar/server/hub"
	"cellar/server/store"
)

func people(t *testing.T) *hub.Hub {
	t.Helper()
	s, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "cellar.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &hub.Hub{Store: s}
}

func TestSignIn(t *testing.T) {
	h, ctx := people(t), t.Context()
	u, password, err := h.AddUser(ctx, "ada", false)
	if err != nil || len(password) < 12 || u.Admin || !strings.HasPrefix(u.PasswordHash, "$argon2id$v=19$m=65536,t=3,p=2$") || strings.Contains(u.PasswordHash, password) {
		t.Fatalf("%+v, %q, %v", u, password, err)
	}
	got, secret, err := h.SignIn(ctx, "192.0.2.1", "ada", password)
	if err != nil || got.ID != u.ID {
		t.Fatalf("%+v, %v", got, err)
	}
	if who, err := h.ByLogin(ctx, secret); err != nil || who.ID != u.ID {
		t.Errorf("by login: %+v, %v", who, err)
	}
	if _, err := h.ByLogin(ctx, secret+"x"); !errors.Is(err, fault.NotFound) {
		t.Errorf("by another secret: %v", err)
	}
	// Whatever is wrong, the answer is the same.
	for name, c := range map[string][2]string{
		"wrong password": {"ada", "wrong"}, "no password": {"ada", ""}, "nobody": {"bob", password}, "case": {"Ada", password},
		"a very long one": {"ada", strings.Repeat("x", 1<<20)},
	} {
		if got, secret, err := h.SignIn(ctx, "192.0.2.1", c[0], c[1]); fault.CodeOf(err) != "wrong_password" || !errors.Is(err, fault.Denied) || secret != "" || got.ID != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestAnAccountWithoutPassword(t *testing.T) {
	h, ctx := people(t), t.Context()
	admin, err := h.FirstStart(ctx)
	if err != nil || !admin.Admin {
		t.Fatalf("%+v, %v", admin, err)
	}
	if again, err := h.FirstStart(ctx); err != nil || again.ID != admin.ID {
		t.Errorf("a second start: %+v, %v", again, err)
	}
	for _, password := range []string{"", "admin", "\x00"} {
		if _, _, err := h.SignIn(ctx, "192.0.2.1", "admin", password); !errors.Is(err, fault.Denied) {
			t.Errorf("%q signs in: %v", password, err)
		}
	}
	for _, bad := range []string{"", "1234567", strings.Repeat("x", 1025)} {
		if err := h.SetPassword(ctx, admin, bad); !errors.Is(err, fault.Invalid) {
			t.Errorf("a password of %d bytes: %v", len(bad), err)
		}
	}
	if err := h.SetPassword(ctx, admin, "12345678"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.SignIn(ctx, "192.0.2.1", "admin", "12345678"); err != nil {
		t.Error(err)
	}
}

func TestADamagedHashLetsNobodyIn(t *testing.T) {
	h, ctx := people(t), t.Context()
	for name, hash := range map[string]string{
		"plain": "secret", "dollars": "$$$$$", "no key": "$argon2id$v=19$m=65536,t=3,p=2$AAAA$", "huge memory": "$argon2id$v=19$m=4294967295,t=3,p=2$AAAA$AAAA",
		"many rounds": "$argon2id$v=19$m=64,t=4294967295,p=2$AAAA$AAAA", "not base64": "$argon2id$v=19$m=64,t=1,p=1$!$!",
	} {
		u := hub.User{ID: name, Name: name, PasswordHash: hash, CreatedAt: time.Now()}
		if err := h.Store.AddUser(ctx, u); err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.SignIn(ctx, "192.0.2.1", name, "secret"); !errors.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNamesOfUsers(t *testing.T) {
	h, ctx := people(t), t.Context()
	for _, bad := range []string{"", "a b", "a/b", "a\\b", "a:b", "a\tb", strings.Repeat("x", 65)} {
		if _, _, err := h.AddUser(ctx, bad, false); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, _, err := h.AddUser(ctx, "ada", false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.AddUser(ctx, " ada ", false); !errors.Is(err, fault.Conflict) {
		t.Errorf("a second one: %v", err)
	}
}

func TestTokens(t *testing.T) {
	h, ctx := people(t), t.Context()
	u, _, err := h.AddUser(ctx, "ada", false)
	if err != nil {
		t.Fatal(err)
	}
	tok, secret, err := h.AddToken(ctx, u, "")
	if err != nil || tok.Name != "token" || len(secret) != 32 || strings.Contains(string(tok.Hash), secret) {
		t.Fatalf("%+v, %q, %v", tok, secret, err)
	}
	if who, err := h.ByToken(ctx, secret); err != nil || who.ID != u.ID {
		t.Errorf("%+v, %v", who, err)
	}
	if _, err := h.ByLogin(ctx, secret); !errors.Is(err, fault.NotFound) {
		t.Errorf("a token is no login: %v", err)
	}
	if _, _, err := h.AddToken(ctx, u, "a\nb"); !errors.Is(err, fault.Invalid) {
		t.Errorf("a name of two lines: %v", err)
	}
	_, other, _ := h.AddToken(ctx, u, "ci")
	if other == secret {
		t.Error("two tokens are alike")
	}
}

func TestMayOpen(t *testing.T) {
	h, ctx := people(t), t.Context()
	ada, _, _ := h.AddUser(ctx, "ada", false)
	bob, _, _ := h.AddUser(ctx, "bob", false)
	root, _ := h.FirstStart(ctx)
	if _, err := h.Store.AddProject(ctx, hub.Project{ID: "p", Name: "P", Owner: ada.ID, CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	for name, u := range map[string]hub.User{"ada": ada, "admin": root} {
		if p, err := h.MayOpen(ctx, u, "p"); err != nil || p.Name != "P" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		if list, err := h.ProjectsOf(ctx, u); err != nil || len(list) != 1 {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
	}
	_, theirs := h.MayOpen(ctx, bob, "p")
	_, none := h.MayOpen(ctx, bob, "q")
	if !errors.Is(theirs, fault.NotFound) || theirs.Error() != none.Error() || fault.CodeOf(theirs) != fault.CodeOf(none) {
		t.Errorf("not-there and not-theirs differ: %v, %v", theirs, none)
	}
	if list, err := h.ProjectsOf(ctx, bob); err != nil || len(list) != 0 {
		t.Errorf("bob: %+v, %v", list, err)
	}
}

// A browser that someone finds signed in does not give away the account.
func TestChangingOnesPassword(t *testing.T) {
	h, ctx := people(t), t.Context()
	u, err := h.FirstStart(ctx)
	if err != nil {
		t.Fatal(err)
	}
	login := func() string {
		t.Helper()
		secret, err := h.OpenLogin(ctx, u)
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	valid := func(what, secret string, want bool) {
		t.Helper()
		if _, err := h.ByLogin(ctx, secret); (err == nil) != want || (err != nil && !errors.Is(err, fault.NotFound)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, token, err := h.AddToken(ctx, u, "script")
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := h.AddUser(ctx, "bob", false)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := h.OpenLogin(ctx, other)
	if err != nil {
		t.Fatal(err)
	}
	mine, elsewhere := login(), login()
	if err := h.ChangePassword(ctx, u, "", "", "first-password", hub.HashSecret(mine)); err != nil {
		t.Fatalf("a first password has none before it: %v", err)
	}
	valid("the browser it was done in", mine, true)
	valid("another browser", elsewhere, false)

	elsewhere = login()
	for _, present := range []string{"", "wrong-password", "second-password"} {
		// u is as it was read before there was a password: the record counts.
		err := h.ChangePassword(ctx, u, "", present, "second-password", hub.HashSecret(mine))
		if fault.CodeOf(err) != "wrong_password" || !errors.Is(err, fault.Denied) {
			t.Errorf("with the present password %q: %v", present, err)
		}
	}
	valid("another browser, nothing having changed", elsewhere, true)
	if err := h.ChangePassword(ctx, u, "", "first-password", "short", nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("a short one: %v", err)
	}
	if err := h.ChangePassword(ctx, u, "", "first-password", "second-password", hub.HashSecret(mine)); err != nil {
		t.Fatal(err)
	}
	valid("the browser it was done in", mine, true)
	valid("another browser", elsewhere, false)
	if _, _, err := h.SignIn(ctx, "", "admin", "first-password"); !errors.Is(err, fault.Denied) {
		t.Errorf("the old password: %v", err)
	}

	// An administrator does it for someone who cannot: every browser is out.
	if err := h.SetPassword(ctx, u, "third-password"); err != nil {
		t.Fatal(err)
	}
	valid("after an administrator", mine, false)
	valid("somebody else", theirs, true)
	if _, err := h.ByToken(ctx, token); err != nil {
		t.Errorf("the token is gone: %v", err)
	}
}

// The present password cannot be found by trying from a browser signed in.
func TestChangingThePasswordIsLimited(t *testing.T) {
	h, ctx := people(t), t.Context()
	u, password, err := h.AddUser(ctx, "ada", false)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := h.ChangePassword(ctx, u, "192.0.2.1", "wrong", "another-password", nil); fault.CodeOf(err) != "wrong_password" {
			t.Fatal(err)
		}
	}
	if err := h.ChangePassword(ctx, u, "192.0.2.1", password, "another-password", nil); fault.CodeOf(err) != "too_many_attempts" {
		t.Errorf("the eleventh: %v", err)
	}
}
