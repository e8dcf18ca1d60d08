package vault

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

// A manifest is two boxes: the objects of a checkpoint, sealed with the tenant's
// key, for collections to find; and what the caller says of it, sealed with the
// project's and bound to the first.
//
//	length of the first box u32, first box, second box

// maxManifest bounds a manifest, bytes.
const maxManifest = maxBox / 2

func sealManifest(tenant, project Key, name string, objects []Object, text []byte, s *squeezers) []byte {
	roots := sealBox(tenant, boxRoots, []byte(name), appendObjects(nil, objects))
	return joinManifest(roots, sealBody(project, name, roots, s.squeeze(nil, text)))
}

func joinManifest(roots, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(roots)))
	return append(append(b, roots...), body...)
}

// sealBody binds the caller's text to the name and to the roots box, whose end
// is the tag over all of it.
func sealBody(project Key, name string, roots, packed []byte) []byte {
	return sealBox(project, boxManifest, bodyName(name, roots), packed)
}

func bodyName(name string, roots []byte) []byte {
	return append([]byte(name+"\x00"), roots[len(roots)-tagSize:]...)
}

func splitManifest(name string, b []byte) (roots, body []byte, err error) {
	if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b))+4 > uint64(len(b)) {
		return nil, nil, damaged(name, errors.New("too short"))
	}
	n := 4 + int(binary.LittleEndian.Uint32(b))
	if n-4 < boxHeader+tagSize {
		return nil, nil, damaged(name, errors.New("too short"))
	}
	return b[4:n], b[n:], nil
}

// Manifest reads what a checkpoint's caller said of it, and its objects.
func (r *Reader) Manifest(ctx context.Context, name string, project Key) ([]byte, []Object, error) {
	text, objects, _, err := r.manifest(ctx, name, project)
	return text, objects, err
}

func (r *Reader) manifest(ctx context.Context, name string, project Key) (text []byte, objects []Object, roots []byte, err error) {
	if err := checkName(name); err != nil {
		return nil, nil, nil, err
	}
	b, err := r.readAll(ctx, manPrefix+name, 2*maxBox)
	if err != nil {
		return nil, nil, nil, err
	}
	roots, body, err := splitManifest(name, b)
	if err != nil {
		return nil, nil, nil, err
	}
	if objects, err = r.openRoots(name, roots); err != nil {
		return nil, nil, nil, err
	}
	packed, err := openBox(project, boxManifest, bodyName(name, roots), body)
	if err != nil {
		return nil, nil, nil, err
	}
	if text, err = r.tables.stretch(nil, packed); err != nil {
		return nil, nil, nil, damaged(name, err)
	}
	return text, objects, roots, nil
}

func (r *Reader) openRoots(name string, roots []byte) ([]Object, error) {
	plain, err := openBox(r.keys.tenant, boxRoots, []byte(name), roots)
	if err != nil {
		return nil, err
	}
	objects, err := parseObjects(plain)
	if err != nil {
		return nil, damaged(name, err)
	}
	return objects, nil
}

// Objects reads the objects of a checkpoint, for which the tenant's key is enough.
func (r *Reader) Objects(ctx context.Context, name string) ([]Object, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	b, err := r.readAll(ctx, manPrefix+name, 2*maxBox)
	if err != nil {
		return nil, err
	}
	roots, _, err := splitManifest(name, b)
	if err != nil {
		return nil, err
	}
	return r.openRoots(name, roots)
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
	text, _, roots, err := v.manifest(ctx, name, old)
	if err != nil {
		return err
	}
	b := joinManifest(roots, sealBody(new, name, roots, v.squeeze.squeeze(nil, text)))
	return v.store.Put(ctx, manPrefix+name, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}
