package hub

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"regexp"
	"strconv"
	"sync"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// Bounds of a conversion. They are what a large notebook takes several times
// over; a notebook is a stranger's, and its conversion runs a stranger's code.
const (
	convertTime    = time.Minute // the container's start with it
	convertMemory  = 1 << 30
	convertPids    = 64
	convertOutput  = 64 << 20
	convertWaiting = 8 // of one project
	convertPort    = 7396
)

// Conversion is a notebook in another form.
type Conversion struct {
	Kind   string // media type
	Ending string // of a file's name, with its dot
	Data   []byte
}

// conversions lets one run at a time in each project.
type conversions struct {
	mu    sync.Mutex
	slots map[string]*slot
}

type slot struct {
	busy  chan struct{}
	users int // who has it, and who waits
}

// enter waits for the project's turn.
func (c *conversions) enter(ctx context.Context, project string) (leave func(), err error) {
	c.mu.Lock()
	if c.slots == nil {
		c.slots = map[string]*slot{}
	}
	s := c.slots[project]
	if s == nil {
		s = &slot{busy: make(chan struct{}, 1)}
		c.slots[project] = s
	}
	if s.users > convertWaiting {
		c.mu.Unlock()
		return nil, fault.New(fault.Exhausted, "convert_busy", "Several notebooks of this project are being converted. Try again in a moment.")
	}
	s.users++
	c.mu.Unlock()
	gone := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if s.users--; s.users == 0 {
			delete(c.slots, project)
		}
	}
	select {
	case s.busy <- struct{}{}:
		return func() { <-s.busy; gone() }, nil
	case <-ctx.Done():
		gone()
		return nil, ctx.Err()
	}
}

// Convert gives a notebook another form, by nbconvert in a container of its own:
// what a notebook holds, and what its project installed, runs as the project's
// code does and not in the hub. The files are there to be read, for templates;
// there is no network. dir and name are the notebook's folder and its name
// without ending.
func (h *Hub) Convert(ctx context.Context, p Project, format, dir, name string, notebook []byte) (Conversion, error) {
	ctx, cancel := context.WithTimeout(ctx, convertTime)
	defer cancel()
	leave, err := h.conversions.enter(ctx, p.ID)
	if err != nil {
		return Conversion{}, err
	}
	defer leave()
	container, err := h.startConvert(ctx, p, dir)
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if err := h.Runtime.Remove(ctx, container); err != nil {
			h.Log.Error("container of a conversion not removed", "container", container, "error", err)
		}
	}()
	if err != nil {
		return Conversion{}, err
	}
	conn, err := h.dialConvert(ctx, container)
	if err != nil {
		return Conversion{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	out, err := askConvert(conn, map[string]any{"format": format, "name": name, "notebook": json.RawMessage(notebook)})
	switch {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return out, ctx.Err()
	case errors.Is(err, errEnded):
		if u, e := h.Runtime.Usage(ctx, container); e == nil && u.OOMs > 0 {
			return out, fault.Newf(fault.Exhausted, "convert_memory", "The conversion needed more than its %d MiB of memory.", convertMemory>>20)
		}
	}
	return out, err
}

// startConvert starts the container of one conversion; its name is given even
// if it does not start.
func (h *Hub) startConvert(ctx context.Context, p Project, dir string) (name string, err error) {
	name = fmt.Sprintf("convert-%x-%s", p.UIDBase, newID()[:6])
	conf, err := h.Configuration("")
	if err != nil {
		return name, err
	}
	if err := h.prepareProject(p); err != nil {
		return name, err
	}
	s, err := h.Spec("")
	if err != nil {
		return name, err
	}
	c := h.base(p, s, name, "convert", h.Parts)
	c.Image, c.Limits = s.Image, h.limits(conf, nil) // no network: what it says goes to the hub alone
	c.Limits.Memory, c.Limits.Pids = convertMemory, convertPids
	c.Mounts = append(c.Mounts,
		kernel.Mount{Source: h.FilesDir(p.ID), Target: "/project", ReadOnly: true},
		kernel.Mount{Source: h.homeDir(p.ID), Target: "/home/cellar", ReadOnly: true}, // what was installed, nbconvert itself perhaps
	)
	// Begun in /, where no file of the project is taken for a module. The
	// notebook's folder may be gone by now: the program goes there by itself.
	c.Dir = "/"
	c.Env = append(c.Env, "PYTHONDONTWRITEBYTECODE=1", "CELLAR_DIR="+path.Join("/project", cleanDir(dir)))
	c.Argv = []string{"python3", "-m", "cellar_convert", strconv.Itoa(convertPort)}
	if err := h.Runtime.Create(ctx, c); err != nil {
		return name, fault.Wrap(fault.Unavailable, "convert_failed", "The conversion's container did not start.", err)
	}
	return name, nil
}

// dialConvert connects to the program in the container, unless it has ended.
func (h *Hub) dialConvert(ctx context.Context, container string) (net.Conn, error) {
	var conn net.Conn
	looked := time.Now()
	err := poll(ctx, func() (err error) {
		if conn, err = h.Runtime.Dial(ctx, container, convertPort); err == nil || time.Since(looked) < time.Second {
			return err
		}
		looked = time.Now()
		list, e := h.Runtime.List(ctx)
		for _, s := range list {
			if s.Name == container && s.Running {
				return err
			}
		}
		if e != nil {
			return err
		}
		return permanent{fault.New(fault.Unsupported, "no_nbconvert", "The kernel image cannot convert notebooks: it has no Python that works.")}
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return conn, err
}

var (
	errEnded = fault.New(fault.Unavailable, "convert_failed", "The conversion ended without a result.")

	mediaKind  = regexp.MustCompile(`^[a-z]+/[a-z0-9.+-]{1,60}$`)
	fileEnding = regexp.MustCompile(`^(\.[A-Za-z0-9_-]{1,20}){0,2}$`)
)

// askConvert has one conversation with the program. All that it says is
// untrusted.
func askConvert(conn io.ReadWriter, asked any) (out Conversion, err error) {
	request, err := json.Marshal(asked)
	if err != nil {
		return out, fault.Wrap(fault.Invalid, "bad_notebook", "The notebook is not valid JSON.", err)
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...)); err != nil {
		return out, errors.Join(errEnded, err)
	}
	var size uint32
	if err := binary.Read(conn, binary.BigEndian, &size); err != nil {
		return out, errors.Join(errEnded, err)
	}
	if size > 64<<10 {
		return out, errEnded
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(conn, b); err != nil {
		return out, errors.Join(errEnded, err)
	}
	var head struct {
		Error, Message, Kind, Ending string
		Size                         int64
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return out, errors.Join(errEnded, err)
	}
	switch head.Error {
	case "":
	case "missing":
		return out, fault.New(fault.Unsupported, "no_nbconvert", "The kernel image has no nbconvert. Install it in a terminal (pip install nbconvert), or ask the operator for an image with it.")
	case "unknown":
		return out, errNoFormat
	case "needs":
		return out, fault.Newf(fault.Unsupported, "format_unsupported", "The kernel image cannot make this format: it has no %.40q.", head.Message)
	default:
		return out, fault.Newf(fault.Invalid, "convert_failed", "The notebook could not be converted: %.300s", head.Message)
	}
	if head.Size > convertOutput {
		return out, fault.Newf(fault.Exhausted, "too_large", "The result is larger than the limit of %d MiB.", convertOutput>>20)
	}
	if head.Size < 0 || !mediaKind.MatchString(head.Kind) || !fileEnding.MatchString(head.Ending) {
		return out, errEnded
	}
	out = Conversion{Kind: head.Kind, Ending: head.Ending, Data: make([]byte, head.Size)}
	if _, err := io.ReadFull(conn, out.Data); err != nil {
		return out, errors.Join(errEnded, err)
	}
	return out, nil
}

var errNoFormat = fault.New(fault.NotFound, "unknown_format", "There is no such format to convert a notebook to.")
