package vault

import (
	"errors"
	"io"

	"cellar/internal/fault"
)

// Commit makes a checkpoint of these objects, which were put or kept in this
// session, and of what the caller says of it, sealed with the project's key. It
// answers the bytes that the storage has more now. When it answers nil all is
// durable; after an error there is no checkpoint of that name, and the session
// has ended in either case.
func (s *Session) Commit(name string, project Key, manifest []byte, objects []Object) (added int64, err error) {
	defer s.Abort() // in vain after a commit
	if s.err != nil {
		return 0, s.err
	}
	if err := s.checkCommit(name, manifest, objects); err != nil {
		return 0, err
	}
	if err := s.v.take(name); err != nil {
		return 0, err
	}
	defer s.v.give(name)
	if _, err := s.v.store.Size(s.ctx, manPrefix+name); err == nil {
		return 0, fault.Newf(fault.Conflict, CodeExists, "There is a checkpoint %s already.", name)
	} else if !errors.Is(err, fault.NotFound) {
		return 0, err
	}
	if s.w != nil {
		if err := s.seal(); err != nil {
			return 0, err
		}
	}
	b := sealManifest(s.v.keys.tenant, project, name, objects, manifest, s.v.squeeze)
	if err := s.putManifest(name, b, objects); err != nil {
		return 0, err
	}
	return s.added + int64(len(b)), nil
}

func (s *Session) checkCommit(name string, manifest []byte, objects []Object) error {
	if err := checkName(name); err != nil {
		return err
	}
	if len(manifest) > maxManifest || len(objects) > maxManifest/objectSize {
		return fault.Newf(fault.Exhausted, "vault_manifest", "What is said of a checkpoint may have %d MiB.", maxManifest>>20)
	}
	for _, o := range objects {
		if !s.objects[o] && o.Root != 0 {
			return fault.New(fault.Invalid, "vault_object", "A checkpoint can have only objects of its own session.")
		}
	}
	return nil
}

// putManifest is the moment from which the checkpoint exists.
func (s *Session) putManifest(name string, b []byte, objects []Object) error {
	err := s.v.store.Put(s.ctx, manPrefix+name, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	stays := err == nil
	if err != nil {
		// It may be there all the same. What cannot be removed is treated as a
		// checkpoint, so that nothing it needs is collected.
		ctx, cancel := afterwards(s.ctx)
		defer cancel()
		gone := s.v.store.Delete(ctx, manPrefix+name)
		stays = gone != nil
		err = errors.Join(err, gone)
	}
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	if stays {
		s.v.recent[name] = true
		if c := s.v.sweep; c != nil {
			for _, o := range objects {
				c.roots[o.Root] = true
			}
		}
		s.endLocked()
	}
	return err
}

// Abort ends the session without a checkpoint. After Commit, or a second time, it
// does nothing. What was stored is garbage for the next GC.
func (s *Session) Abort() {
	if s.w != nil {
		s.w.abort()
		s.w = nil
	}
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	s.endLocked()
}

func (s *Session) endLocked() {
	s.err = errEnded
	s.pins, s.roots = nil, nil
	delete(s.v.sessions, s)
	for n, o := range s.v.owners {
		if o == s.owner {
			delete(s.v.owners, n)
		}
	}
}
