package machine

import (
	"os"
	"strings"
)

// userfaultfd is 1 when processes of a user namespace may have one, which they
// need to be thawed before all their memory is back. The containers themselves
// cannot make one: their seccomp profile has no such call.
const userfaultfd = "/proc/sys/vm/unprivileged_userfaultfd"

// AllowUserfaultfd sets that.
func AllowUserfaultfd() error {
	if mayUserfaultfd() {
		return nil
	}
	return os.WriteFile(userfaultfd, []byte("1"), 0)
}

func mayUserfaultfd() bool {
	b, err := os.ReadFile(userfaultfd)
	return err == nil && strings.TrimSpace(string(b)) == "1"
}
