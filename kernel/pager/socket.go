package pager

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// readWord reads CRIU's next 32-bit number; nil at the end.
func readWord(conn int) (*uint32, error) {
	var b [4]byte
	for {
		n, _, err := unix.Recvfrom(conn, b[:], unix.MSG_WAITALL)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ECONNRESET || (err == nil && n == 0):
			return nil, nil
		case err != nil:
			return nil, err
		case n != len(b):
			return nil, errors.New("cut off")
		}
		v := binary.LittleEndian.Uint32(b[:])
		return &v, nil
	}
}

// receiveFD takes the descriptor that is sent next.
func receiveFD(conn int) (int, error) {
	var data [64]byte
	oob := make([]byte, unix.CmsgSpace(4*4))
	for {
		n, oobn, _, _, err := unix.Recvmsg(conn, data[:1], oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, err
		}
		if n == 0 && oobn == 0 {
			return -1, errEnd
		}
		list, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			return -1, err
		}
		for _, m := range list {
			if fds, err := unix.ParseUnixRights(&m); err == nil && len(fds) > 0 {
				for _, extra := range fds[1:] {
					unix.Close(extra)
				}
				return fds[0], nil
			}
		}
		return -1, fmt.Errorf("no descriptor came")
	}
}

var errEnd = errors.New("the other side has ended")

func sendFD(conn, fd int) error {
	return unix.Sendmsg(conn, []byte{0}, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
}
