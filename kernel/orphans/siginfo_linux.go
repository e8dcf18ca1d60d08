package orphans

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// siginfoPID reads si_pid, which on 64-bit Linux follows signo, errno, code and
// a padding word (siginfo_t in asm-generic/siginfo.h).
func siginfoPID(info *unix.Siginfo) int {
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), 16)))
}
