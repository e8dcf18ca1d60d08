package pager

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests and events of userfaultfd (linux/userfaultfd.h).
const (
	ioctlUnregister = 0x8010aa01
	ioctlCopy       = 0xc028aa03
	ioctlZero       = 0xc020aa04

	eventFault  = 0x12
	eventFork   = 0x13
	eventRemap  = 0x14
	eventRemove = 0x15
	eventUnmap  = 0x16

	eventSize = 32
)

// uffd is a userfaultfd: the memory of one process, from outside.
type uffd int

// event is one message of a uffd; what its numbers mean depends on the kind.
type event struct {
	kind    byte
	a, b, c uint64
}

// read takes the events that wait; none is no error. The uffd does not block.
func (u uffd) read() ([]event, error) {
	buf := make([]byte, 64*eventSize)
	n, err := unix.Read(int(u), buf)
	if err == unix.EAGAIN || err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []event
	for ; n >= eventSize; n, buf = n-eventSize, buf[eventSize:] {
		out = append(out, event{
			kind: buf[0],
			a:    binary.LittleEndian.Uint64(buf[8:]),
			b:    binary.LittleEndian.Uint64(buf[16:]),
			c:    binary.LittleEndian.Uint64(buf[24:]),
		})
	}
	return out, nil
}

// copy fills len(src) bytes of the process from dst on and wakes who waited
// for them; it returns how many it filled.
func (u uffd) copy(dst uint64, src []byte) (uint64, error) {
	arg := struct {
		dst, src, len, mode uint64
		copied              int64
	}{dst: dst, src: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(src)))), len: uint64(len(src))}
	err := u.ioctl(ioctlCopy, unsafe.Pointer(&arg))
	if err != nil && arg.copied < 0 && arg.copied != -int64(unix.EAGAIN) {
		err = unix.Errno(-arg.copied)
	}
	return uint64(max(0, arg.copied)), err
}

// zero makes the page at dst a page of zeros.
func (u uffd) zero(dst uint64) error {
	arg := struct {
		start, len, mode uint64
		zeroed           int64
	}{start: dst, len: pageSize}
	return u.ioctl(ioctlZero, unsafe.Pointer(&arg))
}

// unregister gives the range back to the kernel: what is missing in it reads as
// zeros from now on.
func (u uffd) unregister(start, size uint64) error {
	arg := struct{ start, len uint64 }{start, size}
	return u.ioctl(ioctlUnregister, unsafe.Pointer(&arg))
}

// gone reports whether the process has ended. A range at the very end of the
// address space is never the process's, so that nothing happens to a living one.
func (u uffd) gone() bool {
	return errors.Is(u.zero(1<<47-2*pageSize), unix.ESRCH)
}

func (u uffd) ioctl(request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(u), request, uintptr(arg))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return errno
	}
}
