package hub

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"cellar/internal/fault"
)

// argon2id's costs: the second of the choices RFC 9106 recommends.
const (
	argonTime    = 3
	argonMemory  = 64 << 10 // KiB
	argonThreads = 2
)

const (
	minPassword = 8
	maxPassword = 1024
	loginLasts  = 30 * 24 * time.Hour
)

// hashing bounds how many passwords are tried at once: each costs 64 MiB.
var hashing = make(chan struct{}, 2)

func hashPassword(password string) string {
	hashing <- struct{}{}
	defer func() { <-hashing }()
	salt := make([]byte, 16)
	rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, 32)
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", argonMemory, argonTime, argonThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

func checkPassword(hash, password string) bool {
	var m, t uint32
	var p uint8
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || len(password) > maxPassword {
		return false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &m, &t, &p); err != nil || m < 8 || m > 1<<20 || t < 1 || t > 100 || p < 1 {
		return false
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(want) == 0 {
		return false
	}
	hashing <- struct{}{}
	defer func() { <-hashing }()
	return subtle.ConstantTimeCompare(argon2.IDKey([]byte(password), salt, t, m, p, uint32(len(want))), want) == 1
}

// noOne is checked when there is no such user, so that an answer takes as long.
var noOne = "$argon2id$v=19$m=65536,t=3,p=2$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// HashSecret is how tokens and keys are kept: they are random, so a fast hash does.
func HashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// FirstStart makes the administrator if there is no user yet.
func (h *Hub) FirstStart(ctx context.Context) (User, error) {
	users, err := h.Store.Users(ctx)
	if err != nil {
		return User{}, err
	}
	for _, u := range users {
		if u.Admin {
			return u, nil
		}
	}
	u := User{ID: newID(), Name: "admin", Admin: true, CreatedAt: time.Now()}
	return u, h.Store.AddUser(ctx, u)
}

// AddUser makes an account and returns it with its first password, told once.
func (h *Hub) AddUser(ctx context.Context, name string, admin bool) (User, string, error) {
	name, err := checkName(name)
	if err != nil {
		return User{}, "", err
	}
	if strings.ContainsAny(name, " \t/\\:") || len(name) > 64 {
		return User{}, "", fault.New(fault.Invalid, "name_invalid", "A user's name has up to 64 characters, without spaces, slashes and colons.")
	}
	password := Secret()[:16]
	u := User{ID: newID(), Name: name, Admin: admin, PasswordHash: hashPassword(password), CreatedAt: time.Now()}
	return u, password, h.Store.AddUser(ctx, u)
}

var errSignIn = fault.New(fault.Denied, "wrong_password", "The name or the password is wrong.")

// SignIn checks a password and opens a login; the secret goes into the cookie.
// From is the address of whoever tries, empty if there is none.
func (h *Hub) SignIn(ctx context.Context, from, name, password string) (User, string, error) {
	if err := h.attempts.begin(name, from); err != nil {
		return User{}, "", err
	}
	u, err := h.Store.UserByName(ctx, name)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return u, "", err
	}
	hash := u.PasswordHash
	if err != nil || hash == "" {
		hash = noOne
	}
	if !checkPassword(hash, password) || err != nil {
		return User{}, "", errSignIn
	}
	h.attempts.right(name, from)
	secret, err := h.OpenLogin(ctx, u)
	return u, secret, err
}

// OpenLogin opens a login without a password: for someone known by a token.
func (h *Hub) OpenLogin(ctx context.Context, u User) (string, error) {
	secret := Secret()
	now := time.Now()
	return secret, h.Store.AddLogin(ctx, Login{Hash: HashSecret(secret), User: u.ID, CreatedAt: now, ExpiresAt: now.Add(loginLasts)})
}

// SetPassword gives a user another password, as an administrator does: all
// logins of the user end.
func (h *Hub) SetPassword(ctx context.Context, u User, password string) error {
	return h.setPassword(ctx, u, password, nil)
}

func (h *Hub) setPassword(ctx context.Context, u User, password string, keep []byte) error {
	if err := checkNewPassword(password); err != nil {
		return err
	}
	return h.Store.SetPassword(ctx, u.ID, hashPassword(password), keep)
}

func checkNewPassword(password string) error {
	if len(password) < minPassword || len(password) > maxPassword {
		return fault.Newf(fault.Invalid, "password_length", "A password has at least %d characters.", minPassword)
	}
	return nil
}

var errPresentPassword = fault.New(fault.Denied, "wrong_password", "The present password is wrong.")

// ChangePassword is the user's own deed. It takes the present password, if there
// is one: whoever finds a browser signed in must not get the account with it.
// Logins end, but for the one with hash keep; API tokens stay.
func (h *Hub) ChangePassword(ctx context.Context, u User, from, present, password string, keep []byte) error {
	if err := checkNewPassword(password); err != nil {
		return err
	}
	u, err := h.Store.UserByID(ctx, u.ID)
	if err != nil {
		return err
	}
	if u.PasswordHash != "" {
		if err := h.attempts.begin(u.Name, from); err != nil {
			return err
		}
		if !checkPassword(u.PasswordHash, present) {
			return errPresentPassword
		}
		h.attempts.right(u.Name, from)
	}
	return h.setPassword(ctx, u, password, keep)
}

// ByLogin finds who a cookie's secret belongs to.
func (h *Hub) ByLogin(ctx context.Context, secret string) (User, error) {
	u, _, err := h.ByLoginHash(ctx, HashSecret(secret))
	return u, err
}

// ByLoginHash finds a login that is still open, and whose it is.
func (h *Hub) ByLoginHash(ctx context.Context, hash []byte) (User, Login, error) {
	l, err := h.Store.LoginByHash(ctx, hash)
	if err != nil {
		return User{}, Login{}, err
	}
	u, err := h.Store.UserByID(ctx, l.User)
	return u, l, err
}

// ByToken finds who an API token belongs to.
func (h *Hub) ByToken(ctx context.Context, secret string) (User, error) {
	t, err := h.Store.TokenByHash(ctx, HashSecret(secret))
	if err != nil {
		return User{}, err
	}
	return h.Store.UserByID(ctx, t.User)
}

// AddToken makes an API token; the secret is told once.
func (h *Hub) AddToken(ctx context.Context, u User, name string) (Token, string, error) {
	if name == "" {
		name = "token"
	}
	name, err := checkName(name)
	if err != nil {
		return Token{}, "", err
	}
	secret := Secret()
	t := Token{ID: newID(), User: u.ID, Hash: HashSecret(secret), Name: name, CreatedAt: time.Now()}
	return t, secret, h.Store.AddToken(ctx, t)
}
