package blob

import (
	"container/list"
	"os"
	"sync"
)

// files keeps a bounded number of files open, the last used ones. A file that is
// being read is closed when its last reader is done.
type files struct {
	mu    sync.Mutex
	max   int
	order *list.List // of *openFile, last used first
	names map[string]*list.Element
}

type openFile struct {
	name string
	f    *os.File
	uses int
	gone bool // no longer in the cache: the last user closes it
}

func newFiles(most int) *files {
	return &files{max: most, order: list.New(), names: map[string]*list.Element{}}
}

// get answers the open file of that name and a function to give it back.
func (c *files) get(name string, open func() (*os.File, error)) (*os.File, func(), error) {
	if o := c.find(name); o != nil {
		return o.f, func() { c.release(o) }, nil
	}
	f, err := open()
	if err != nil {
		return nil, nil, err
	}
	o := c.add(name, f)
	return o.f, func() { c.release(o) }, nil
}

func (c *files) find(name string) *openFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.names[name]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	o := e.Value.(*openFile)
	o.uses++
	return o
}

func (c *files) add(name string, f *os.File) *openFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := &openFile{name: name, f: f, uses: 1}
	if c.names[name] != nil { // somebody was quicker
		o.gone = true
		return o
	}
	c.names[name] = c.order.PushFront(o)
	for c.order.Len() > c.max {
		c.remove(c.order.Back())
	}
	return o
}

// remove takes a file out of the cache. The caller holds mu.
func (c *files) remove(e *list.Element) {
	o := e.Value.(*openFile)
	c.order.Remove(e)
	delete(c.names, o.name)
	o.gone = true
	if o.uses == 0 {
		o.f.Close() // read only: nothing can be lost
	}
}

func (c *files) release(o *openFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.uses--
	if o.gone && o.uses == 0 {
		o.f.Close()
	}
}

func (c *files) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.names[name]; e != nil {
		c.remove(e)
	}
}

// dropOther drops the file of that name unless it is the one that info describes.
func (c *files) dropOther(name string, info os.FileInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.names[name]
	if e == nil {
		return
	}
	if is, err := e.Value.(*openFile).f.Stat(); err != nil || !os.SameFile(is, info) {
		c.remove(e)
	}
}

func (c *files) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.order.Len() > 0 {
		c.remove(c.order.Back())
	}
}
