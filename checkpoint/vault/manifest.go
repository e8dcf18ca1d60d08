package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

// A manifest is two boxes: the roots, sealed with the tenant's key, for
// collections to find; and the body, what the caller says, sealed with the
// project's. The roots have the body's digest, so that both belong together and
// damage to the body is seen without the project's key.
//
//	length of the roots u32, roots (digest of the body, objects), body

// maxManifest bounds a manifest, bytes.
const maxManifest = maxBox / 2

func sealManifest(tenant, project Key, name string, objects []Object, text []byte, s *squeezers) []byte {
	body := sealBox(project, boxManifest, []byte(name), s.squeeze(nil, text))
	digest := sha256.Sum256(body)
	roots := sealBox(tenant, boxRoots, []byte(name), appendObjects(digest[:], objects))
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(roots)))
	return append(append(b, roots...), body...)
}

func splitManifest(name string, b []byte) (roots, body []byte, err error) {
	if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b))+4 > uint64(len(b)) {
		return nil, nil, damaged(manPrefix+name, errors.New("too short"))
	}
	n := 4 + int(binary.LittleEndian.Uint32(b))
	return b[4:n], b[n:], nil
}

// openManifest opens the roots and compares the body with them.
func (r *Reader) openManifest(name string, b []byte) (objects []Object, body []byte, err error) {
	roots, body, err := splitManifest(name, b)
	if err != nil {
		return nil, nil, err
	}
	plain, err := openBox(r.keys.tenant, boxRoots, []byte(name), roots)
	if err != nil {
		return nil, nil, err
	}
	digest := sha256.Sum256(body)
	if len(plain) < len(digest) || !bytes.Equal(plain[:len(digest)], digest[:]) {
		return nil, nil, damaged(manPrefix+name, errors.New("the body is not what was written"))
	}
	if objects, err = parseObjects(plain[len(digest):]); err != nil {
		return nil, nil, damaged(manPrefix+name, err)
	}
	return objects, body, nil
}

func (r *Reader) readManifest(ctx context.Context, name string) (objects []Object, body []byte, err error) {
	if err := checkName(name); err != nil {
		return nil, nil, err
	}
	b, err := r.readAll(ctx, manPrefix+name, 2*maxBox)
	if err != nil {
		return nil, nil, err
	}
	return r.openManifest(name, b)
}

// Manifest reads what a checkpoint's caller said of it, and its objects.
func (r *Reader) Manifest(ctx context.Context, name string, project Key) ([]byte, []Object, error) {
	objects, body, err := r.readManifest(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	packed, err := openBox(project, boxManifest, []byte(name), body)
	if err != nil {
		return nil, nil, err
	}
	text, err := r.tables.stretch(nil, packed)
	if err != nil {
		return nil, nil, damaged(manPrefix+name, err)
	}
	return text, objects, nil
}

// Objects reads the objects of a checkpoint, for which the tenant's key is enough.
func (r *Reader) Objects(ctx context.Context, name string) ([]Object, error) {
	objects, _, err := r.readManifest(ctx, name)
	return objects, err
}

// List answers the names of all checkpoints, in order.
func (r *Reader) List(ctx context.Context) ([]string, error) {
	blobs, err := r.store.List(ctx, manPrefix)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(blobs))
	for _, b := range blobs {
		name := strings.TrimPrefix(b.Name, manPrefix)
		if checkName(name) == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

// Reseal seals a manifest with another key of its project. Whatever happens, it
// is there with one of the two.
func (v *Vault) Reseal(ctx context.Context, name string, old, new Key) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := v.take(name); err != nil {
		return err
	}
	defer v.give(name)
	text, objects, err := v.Manifest(ctx, name, old)
	if err != nil {
		return err
	}
	b := sealManifest(v.keys.tenant, new, name, objects, text, v.squeeze)
	return v.store.Put(ctx, manPrefix+name, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}
