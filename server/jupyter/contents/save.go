package contents

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"cellar/internal/fault"
)

// Incoming is a model that a client sends to be saved.
type Incoming struct {
	Type, Format string
	Content      json.RawMessage // absent: nil
	Chunk        int             // of a large upload: 1, 2, ... and -1 for the last; 0: all at once
	Overlay      Overlay         // may be nil
	Trust        Trust           // may be nil
}

// incoming is Incoming with its content parsed.
type incoming struct {
	kind, format string
	content      *value
	chunk        int
	overlay      Overlay
	trust        Trust
}

// Save writes a file, notebook or directory and answers its model without content.
func (t *Tree) Save(p string, in Incoming) (*Model, error) {
	parsed := incoming{kind: in.Type, format: in.Format, chunk: in.Chunk, overlay: in.Overlay, trust: in.Trust}
	if in.Content != nil {
		v, err := parse(in.Content)
		if err != nil {
			return nil, err
		}
		parsed.content = &v
	}
	m, _, err := t.save(p, parsed)
	return m, err
}

// parseIncoming reads the body of a PUT, content and all, in one pass.
func parseIncoming(body []byte) (in incoming, copyFrom string, err error) {
	v, err := parse(body)
	if err != nil {
		return in, "", err
	}
	if !v.is(kindObject) {
		return in, "", fault.New(fault.Invalid, "not_a_model", "A JSON object is expected.")
	}
	in.kind, in.format, in.content = v.get("type").str(), v.get("format").str(), v.get("content")
	if c := v.get("chunk"); c != nil && string(c.text) != "null" {
		if in.chunk, err = strconv.Atoi(string(c.text)); err != nil || in.chunk == 0 || in.chunk < -1 {
			return in, "", fault.New(fault.Invalid, "bad_chunk", "The chunk is to be a number from 1, or -1 for the last.")
		}
	}
	return in, v.get("copy_from").str(), nil
}

// save also says whether the place is new.
func (t *Tree) save(p string, in incoming) (m *Model, made bool, err error) {
	place, err := t.place(p)
	if err != nil {
		return nil, false, err
	}
	defer t.locks.hold(place)()
	_, err = t.root.Stat(at(place))
	made = errors.Is(err, fs.ErrNotExist)
	if made {
		in.fill(place)
	}
	var hash, message string
	switch {
	case in.kind == "":
		err = fault.New(fault.Invalid, "no_type", "No file type provided.")
	case in.kind == Directory:
		err = t.saveDirectory(place)
	case in.content == nil:
		err = fault.New(fault.Invalid, "no_content", "No file content provided.")
	case place == "":
		err = fault.New(fault.Invalid, "is_directory", "The root is a directory.")
	case in.kind == Notebook && in.chunk == 0:
		hash, message, err = t.saveNotebook(place, in)
	case in.kind == Notebook:
		err = fault.New(fault.Invalid, "bad_chunk", "Only files can be uploaded in chunks.")
	default: // a type we do not know is a file: front ends have types of their own
		hash, err = t.saveFile(place, in)
	}
	if err != nil {
		return nil, false, err
	}
	t.aliases.forget(place)
	m, err = t.Get(place, Want{})
	if err == nil && hash != "" {
		m.Hash, m.HashAlgorithm = hash, "sha256"
	}
	if err == nil {
		m.Message = message
	}
	return m, made, err
}

// fill completes what a client may leave out for something new.
func (in *incoming) fill(place string) {
	if in.kind == "" {
		in.kind = File
		if strings.HasSuffix(place, ".ipynb") {
			in.kind = Notebook
		}
	}
	if in.content != nil && string(in.content.text) != "null" || in.kind == Directory {
		return
	}
	empty := value{kind: kindString}
	in.format = Text
	if in.kind == Notebook {
		empty, _ = parse([]byte(NewNotebook))
		in.format = JSON
	}
	in.content = &empty
}

func (t *Tree) saveDirectory(place string) error {
	if info, err := t.root.Stat(at(place)); err == nil {
		if info.IsDir() {
			return nil
		}
		return fault.Newf(fault.Invalid, "not_a_directory", "%s is there and is not a directory.", place)
	}
	if err := t.mayChange(place); err != nil {
		return err
	}
	if err := t.root.Mkdir(place, 0o755); err != nil {
		return classed(place, err)
	}
	return classed(place, t.own(place))
}

func (t *Tree) saveNotebook(place string, in incoming) (hash, message string, err error) {
	nb := *in.content
	nb.key = nil
	if err := toMemory(&nb); err != nil {
		return "", "", err
	}
	message = invalid(&nb)
	sent, trusted := sumsOf(&nb), markedTrusted(&nb)
	saved := sent
	if in.overlay != nil && in.overlay.Lays(place) {
		if nb, err = parseNotebook(in.overlay.Saving(place, nb.appendCompact(nil))); err != nil {
			return "", "", fault.Wrap(fault.Internal, "overlay", "The notebook's outputs could not be laid over it.", err)
		}
		saved = sumsOf(&nb)
	}
	if err := learn(saved, sent, trusted, in.trust); err != nil {
		return "", "", err
	}
	if hash, err = t.put(place, diskForm(&nb), disguise{}); err != nil {
		return "", "", err
	}
	// Front ends count on one checkpoint of a notebook. The save is done, whether this works or not.
	if _, err := t.root.Lstat(checkpointOf(place)); errors.Is(err, fs.ErrNotExist) {
		_, _ = t.createCheckpoint(place)
	}
	return hash, message, nil
}

// put writes bytes as a whole file and answers their hash.
func (t *Tree) put(place string, data []byte, as disguise) (hash string, err error) {
	sums := make(chan string, 1)
	go func() { sums <- sum(data) }() // meanwhile the disk works
	err = t.write(place, as, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	return <-sums, err
}

func (t *Tree) saveFile(place string, in incoming) (hash string, err error) {
	data, err := fileBytes(in)
	if err != nil {
		return "", err
	}
	switch in.chunk {
	case 0:
		return t.put(place, data, disguise{})
	case 1:
		_, err = t.put(place, data, disguise{})
		return "", err
	}
	return "", t.appendTo(place, data)
}

// fileBytes decodes what a client sent as a file. Content of no format may be a JSON document.
func fileBytes(in incoming) ([]byte, error) {
	if in.content.kind != kindString {
		if in.format == JSON && in.chunk == 0 {
			return append(in.content.appendIndented(nil, 0), '\n'), nil
		}
		return nil, fault.New(fault.Invalid, "bad_content", "The content of a file is to be a string.")
	}
	data, ok := plain(in.content.text)
	if !ok {
		return nil, fault.New(fault.Invalid, "bad_content", "The text holds half a character and cannot be saved as UTF-8.")
	}
	switch in.format {
	case Text:
		return data, nil
	case Base64:
		out := make([]byte, base64.StdEncoding.DecodedLen(len(data)))
		n, err := base64.StdEncoding.Decode(out, data)
		if err != nil { // Python takes it without its padding's company of spaces
			n, err = base64.StdEncoding.Decode(out, bytes.Join(bytes.Fields(data), nil))
		}
		return out[:n], fault.Wrap(fault.Invalid, "bad_content", "The content is not valid base64.", err)
	}
	return nil, fault.New(fault.Invalid, "bad_format", "The format of a file is to be text or base64.")
}

// appendTo adds a later chunk of an upload. The first one made the file.
func (t *Tree) appendTo(place string, data []byte) error {
	info, err := t.root.Stat(place)
	if err != nil {
		return classed(place, err)
	}
	if err := mustBeRegular(place, info); err != nil {
		return err
	}
	if !t.writable(info) {
		return fault.Newf(fault.Denied, "read_only", "%s is read-only.", place)
	}
	f, err := t.root.OpenFile(place, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	if err != nil {
		return classed(place, err)
	}
	defer f.Close()
	if info, err = f.Stat(); err == nil {
		if err = mustBeRegular(place, info); err == nil {
			_, err = f.Write(data)
		}
	}
	return classed(place, err)
}
