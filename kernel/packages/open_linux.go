package packages

import "golang.org/x/sys/unix"

// nonblock keeps an open from waiting at a pipe.
const nonblock = unix.O_NONBLOCK
