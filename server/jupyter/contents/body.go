package contents

import (
	"errors"
	"io"
	"net/http"

	"cellar/internal/fault"
)

// smallBody parses a body that holds names only. An empty one is an object without members.
func smallBody(w http.ResponseWriter, r *http.Request, b *Budget) (v *value, done func(), err error) {
	body, done, err := bodyOf(w, r, 1<<20, b)
	if err != nil {
		return nil, nil, err
	}
	if len(body) == 0 {
		return &value{kind: kindObject}, done, nil
	}
	parsed, err := parse(body)
	if err == nil && !parsed.is(kindObject) && string(parsed.text) != "null" {
		err = fault.New(fault.Invalid, "not_an_object", "A JSON object is expected.")
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return &parsed, done, nil
}

// bodyOf reads a body of at most limit bytes. It counts against the budget until done is called.
func bodyOf(w http.ResponseWriter, r *http.Request, limit int64, b *Budget) (body []byte, done func(), err error) {
	tooLarge := fault.Newf(fault.Exhausted, "too_large", "The request is larger than the limit of %d bytes.", limit)
	if r.ContentLength > limit {
		return nil, nil, tooLarge
	}
	share := int64(0)
	defer func() {
		if err != nil {
			b.bodyDone(share)
		}
	}()
	limited := http.MaxBytesReader(w, r.Body, limit)
	next := int64(64 << 10) // unsaid: room grows as bytes come
	if n := r.ContentLength; n > 0 {
		next = min(n, 64<<20) + 1 // said: most of it at once
	}
	for {
		if err := b.body(next); err != nil {
			return nil, nil, err
		}
		share += next
		body = append(make([]byte, 0, share), body...)
		body, err = fillUp(limited, body)
		var tooMuch *http.MaxBytesError
		switch {
		case err == nil:
			next = share
			continue
		case errors.As(err, &tooMuch):
			return nil, nil, tooLarge
		case err == io.EOF:
			return body, func() { b.bodyDone(share) }, nil
		}
		return nil, nil, fault.Wrap(fault.Invalid, "body_cut", "The request's body did not arrive whole.", err)
	}
}

// fillUp reads until there is no more room, or no more to read. Not io.ReadFull, which makes one error
// of a body that ends and one that is cut.
func fillUp(r io.Reader, body []byte) ([]byte, error) {
	for len(body) < cap(body) {
		n, err := r.Read(body[len(body):cap(body)])
		if body = body[:len(body)+n]; err != nil {
			return body, err
		}
	}
	return body, nil
}
