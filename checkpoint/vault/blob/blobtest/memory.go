// Package blobtest has the tests that every blob.Store must pass, and a store
// in memory that fails when it is told to.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"cellar/checkpoint/vault/blob"
	"cellar/internal/fault"
)

// Failure is a way in which a Failing store fails.
type Failure int

const (
	Refuse     Failure = iota // the call does nothing and answers an error
	Tear                      // a Put is cut off half-way: nothing appears
	LoseAnswer                // the call does its work and answers an error
	Crash                     // this call and all later ones fail, as for a process that died
	RunOut                    // no room from now on: this Put and all later ones are cut off
)

// Failures lists all, for tables that must be complete.
func Failures() []Failure { return []Failure{Refuse, Tear, LoseAnswer, Crash, RunOut} }

func (f Failure) String() string {
	return [...]string{"refuse", "tear", "lose-answer", "crash", "run-out"}[f]
}

// ErrBroken is what a failing call answers.
var ErrBroken = errors.New("the store broke")

// Failing is a blob.Store in memory whose n-th changing call fails.
type Failing struct {
	mu    sync.Mutex
	blobs map[string][]byte
	calls int // changing calls so far
	at    int // the one that fails; 0: none
	how   Failure
}

// NewFailing makes an empty store that does not fail yet.
func NewFailing() *Failing { return &Failing{blobs: map[string][]byte{}} }

// Clone answers a store of the same blobs that does not fail.
func (m *Failing) Clone() *Failing {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Failing{blobs: maps.Clone(m.blobs)} // what a blob has is never changed in place
}

// FailAt makes the n-th changing call from now on fail; 0 ends all failing.
func (m *Failing) FailAt(n int, how Failure) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls, m.at, m.how = 0, n, how
}

// Calls answers how many changing calls were made since FailAt.
func (m *Failing) Calls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

// Bytes answers a copy of a blob, nil when it is not there.
func (m *Failing) Bytes(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.blobs[name])
}

// Set replaces a blob as damage would, without a Put.
func (m *Failing) Set(name string, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[name] = b
}

// next counts a changing call and answers whether it fails.
func (m *Failing) next(put bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	switch {
	case m.at == 0:
		return false
	case m.how == Crash:
		return m.calls >= m.at
	case m.how == RunOut:
		return put && m.calls >= m.at
	}
	return m.calls == m.at
}

// dead says whether the store answers nothing any more.
func (m *Failing) dead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.how == Crash && m.at > 0 && m.calls >= m.at
}

// half writes so many bytes and then fails.
type half struct {
	bytes.Buffer
	left int
}

func (h *half) Write(p []byte) (int, error) {
	if h.left -= len(p); h.left < 0 {
		return 0, ErrBroken
	}
	return h.Buffer.Write(p)
}

// Put implements blob.Store.
func (m *Failing) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	if err := blob.CheckName(name); err != nil {
		return err
	}
	fails := m.next(true)
	if fails && (m.how == Refuse || m.how == Crash) {
		return fmt.Errorf("put %s: %w", name, ErrBroken)
	}
	if fails && m.how == Tear {
		return fmt.Errorf("put %s: %w", name, errors.Join(ErrBroken, write(&half{left: 1000})))
	}
	if fails && m.how == RunOut {
		return fault.Wrap(fault.Exhausted, "disk_full", "There is no room.", errors.Join(ErrBroken, write(&half{left: 1000})))
	}
	var w bytes.Buffer
	if err := errors.Join(write(&w), ctx.Err()); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	if m.dead() { // died while this was written
		return fmt.Errorf("put %s: %w", name, ErrBroken)
	}
	m.Set(name, w.Bytes())
	if fails {
		return fmt.Errorf("put %s, and the answer is lost: %w", name, ErrBroken)
	}
	return nil
}

// ReadAt implements blob.Store.
func (m *Failing) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	if err := errors.Join(ctx.Err(), blob.CheckName(name), m.alive()); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blobs[name]
	if !ok {
		return blob.Absent(name)
	}
	if off < 0 || off+int64(len(p)) > int64(len(b)) {
		return io.ErrUnexpectedEOF
	}
	copy(p, b[off:])
	return nil
}

func (m *Failing) alive() error {
	if m.dead() {
		return ErrBroken
	}
	return nil
}

// Size implements blob.Store.
func (m *Failing) Size(ctx context.Context, name string) (int64, error) {
	if err := errors.Join(ctx.Err(), blob.CheckName(name), m.alive()); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blobs[name]
	if !ok {
		return 0, blob.Absent(name)
	}
	return int64(len(b)), nil
}

// List implements blob.Store.
func (m *Failing) List(ctx context.Context, prefix string) ([]blob.Info, error) {
	if err := errors.Join(ctx.Err(), m.alive()); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []blob.Info
	for _, name := range slices.Sorted(maps.Keys(m.blobs)) {
		if strings.HasPrefix(name, prefix) {
			found = append(found, blob.Info{Name: name, Size: int64(len(m.blobs[name]))})
		}
	}
	return found, nil
}

// Delete implements blob.Store.
func (m *Failing) Delete(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), blob.CheckName(name)); err != nil {
		return err
	}
	fails := m.next(false)
	if fails && m.how != LoseAnswer {
		return fmt.Errorf("delete %s: %w", name, ErrBroken)
	}
	m.mu.Lock()
	delete(m.blobs, name)
	m.mu.Unlock()
	if fails {
		return fmt.Errorf("delete %s, and the answer is lost: %w", name, ErrBroken)
	}
	return nil
}

// Sweep implements blob.Store.
func (m *Failing) Sweep(context.Context) error { return m.alive() }
