package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Finding is one result of looking at the machine. Codes are stable; they are
// explained in docs/howto/doctor.md.
type Finding struct {
	Code, Status, Title, Detail, Fix string
}

// Status of a finding.
const (
	OK   = "ok"
	Warn = "warn" // something is missing that Cellar can do without
	Fail = "fail" // kernels cannot run, or cannot be kept
)

// Doctor looks at this machine. The zero value of a field leaves a check out.
type Doctor struct {
	Tools   string
	Data    string
	Network *Network
	// NetworkError is what came of bringing the network up.
	NetworkError error
	// ProcError is what came of starting the views of /proc.
	ProcError error
	Images    []Image
}

// Image is what is known of an image that new kernels are made of. Whoever
// looks knows containerd; this package does not.
type Image struct {
	Name     string // the operator's
	Archive  string // the OCI archive; needed until it is imported
	Imported string // the name under which it was imported; empty: it was not
	Stored   bool   // Imported is in containerd's store, where kernels find it
	Used     bool   // a hub runs and starts kernels of Imported
	Trouble  string // a sentence: why no kernel can be made of it; empty: none is known
}

// Examine returns all findings.
func (d Doctor) Examine(ctx context.Context) []Finding {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return []Finding{
		d.root(), d.system(), d.cgroups(), d.userNamespaces(), d.overlay(), d.tools(), d.criu(ctx), d.lateMemory(),
		d.network(), d.procViews(), d.image(), d.disk(), d.memory(), d.gpu(),
	}
}

func (d Doctor) root() Finding {
	f := Finding{Code: "root", Status: OK, Title: "Rights", Detail: "runs as root"}
	if os.Geteuid() != 0 {
		f.Status, f.Detail, f.Fix = Fail, "does not run as root: containers and checkpoints need it", "start it with sudo, or as a systemd service"
	}
	return f
}

func (d Doctor) system() Finding {
	var u unix.Utsname
	unix.Uname(&u)
	release := unix.ByteSliceToString(u.Release[:])
	f := Finding{Code: "kernel", Status: OK, Title: "Operating system kernel", Detail: "Linux " + release + " on " + runtime.GOARCH}
	var major, minor int
	fmt.Sscanf(release, "%d.%d", &major, &minor)
	if major < 6 || (major == 6 && minor < 1) {
		f.Status, f.Fix = Warn, "use Linux 6.1 or newer"
	}
	return f
}

func (d Doctor) cgroups() Finding {
	f := Finding{Code: "cgroups", Status: OK, Title: "Control groups"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		b, _ := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
		f.Detail = "version 2 with " + strings.TrimSpace(string(b))
		for _, c := range []string{"cpu", "cpuset", "memory", "pids"} {
			if !strings.Contains(" "+string(b), " "+c) {
				f.Status, f.Fix = Fail, "enable the controller "+c
			}
		}
		return f
	}
	f.Detail = "version 1"
	for _, c := range []string{"cpu", "cpuset", "memory", "pids", "freezer", "devices"} {
		if _, err := os.Stat("/sys/fs/cgroup/" + c); err != nil {
			f.Status, f.Detail, f.Fix = Fail, "version 1 without "+c, "mount the controller "+c+", or boot with version 2"
		}
	}
	return f
}

func (d Doctor) userNamespaces() Finding {
	f := Finding{Code: "user_namespaces", Status: OK, Title: "User namespaces", Detail: "available"}
	b, err := os.ReadFile("/proc/sys/user/max_user_namespaces")
	if err != nil || strings.TrimSpace(string(b)) == "0" {
		f.Status, f.Detail, f.Fix = Fail, "switched off", "sysctl user.max_user_namespaces=15000"
	}
	return f
}

func (d Doctor) overlay() Finding {
	f := Finding{Code: "overlayfs", Status: OK, Title: "Overlay file system", Detail: "available"}
	b, _ := os.ReadFile("/proc/filesystems")
	if !strings.Contains(string(b), "overlay") && exec.Command("modprobe", "overlay").Run() != nil {
		f.Status, f.Detail, f.Fix = Fail, "not available", "load the module: modprobe overlay"
	}
	return f
}

func (d Doctor) tools() Finding {
	f := Finding{Code: "tools", Status: OK, Title: "Container tools", Detail: "containerd, shim, runc and criu are there"}
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "runc", "criu"} {
		if _, err := os.Stat(filepath.Join(d.Tools, name)); err != nil {
			f.Status, f.Detail, f.Fix = Fail, name+" is missing", "make setup"
		}
	}
	return f
}

func (d Doctor) criu(ctx context.Context) Finding {
	f := Finding{Code: "criu", Status: OK, Title: "Checkpoints (CRIU)"}
	criu := filepath.Join(d.Tools, "criu")
	version, err := exec.CommandContext(ctx, criu, "--version").CombinedOutput()
	if err != nil {
		f.Status, f.Detail, f.Fix = Fail, "criu does not start: "+err.Error(), "make setup"
		return f
	}
	out, err := exec.CommandContext(ctx, criu, "check").CombinedOutput()
	f.Detail = firstLine(version) + "; " + lastText(out)
	if err != nil {
		f.Status, f.Fix = Fail, "kernels run, but cannot be kept: use an operating system kernel with CONFIG_CHECKPOINT_RESTORE"
	}
	return f
}

func (d Doctor) lateMemory() Finding {
	f := Finding{Code: "userfaultfd", Status: OK, Title: "Waking before all memory is back", Detail: "a large session answers as soon as a small one"}
	if !mayUserfaultfd() {
		f.Status, f.Detail, f.Fix = Warn, "a session waits until all its memory is read", "sysctl vm.unprivileged_userfaultfd=1; the server sets it at its start where it may"
	}
	return f
}

func (d Doctor) network() Finding {
	f := Finding{Code: "network", Status: OK, Title: "Network of the kernels", Detail: "kernels reach out and reach neither this machine's ports nor each other"}
	if d.Network == nil {
		f.Detail = "not looked at: the server is not running here"
		return f
	}
	if d.NetworkError != nil {
		f.Status, f.Detail, f.Fix = Warn, "kernels have no way out: "+d.NetworkError.Error(), "install nftables and allow net.ipv4.ip_forward=1"
	}
	return f
}

func (d Doctor) procViews() Finding {
	f := Finding{Code: "proc_views", Status: OK, Title: "Views of /proc", Detail: "kernels see their own memory and cores (lxcfs)"}
	if d.ProcError != nil {
		f.Status, f.Detail, f.Fix = Warn, "kernels see the machine's memory in /proc/meminfo: "+d.ProcError.Error(), "install lxcfs and allow /dev/fuse"
	} else if _, err := exec.LookPath("lxcfs"); err != nil {
		f.Status, f.Detail, f.Fix = Warn, "kernels see the machine's memory in /proc/meminfo", "install lxcfs"
	}
	return f
}

// image is the worst of the images; where there are several, it says of each
// which it is.
func (d Doctor) image() Finding {
	if len(d.Images) == 0 {
		return Image{}.finding()
	}
	worse := map[string]int{OK: 0, Warn: 1, Fail: 2}
	out := d.Images[0].finding()
	details := []string{}
	for _, image := range d.Images {
		f := image.finding()
		if worse[f.Status] > worse[out.Status] {
			out = f
		}
		details = append(details, image.Name+": "+f.Detail)
	}
	if len(details) > 1 {
		out.Detail = strings.Join(details, "; ")
	}
	return out
}

func (image Image) finding() Finding {
	f := Finding{Code: "image", Status: OK, Title: "Kernel image"}
	_, err := os.Stat(image.Archive)
	archive := err == nil
	const build = "make setup, or point --image at an archive"
	switch {
	case image.Archive == "" && image.Imported == "" && image.Trouble == "":
		f.Detail = "not looked at"
	case image.Trouble != "":
		f.Status, f.Detail, f.Fix = Fail, image.Trouble, build+", and start the hub again"
	case image.Stored && archive:
		f.Detail = "imported"
	case image.Stored:
		f.Detail = "imported; the archive is gone, which only another data folder would need"
	case image.Used && archive:
		f.Status, f.Detail, f.Fix = Fail, "containerd has lost the image; no kernel can be started", "start the hub again: it imports the archive"
	case image.Used:
		f.Status, f.Detail, f.Fix = Fail, "containerd has lost the image, and the archive is gone; no kernel can be started", build+", and start the hub again"
	case archive && image.Imported != "":
		f.Status, f.Detail, f.Fix = Warn, "containerd has lost the image that was imported", "nothing: the next start of the hub imports the archive again"
	case archive:
		f.Detail = "the archive is there; the first start of the hub imports it"
	default:
		f.Status, f.Detail, f.Fix = Fail, "the data folder has no image, and there is no archive to import", build
	}
	return f
}

func (d Doctor) disk() Finding {
	f := Finding{Code: "disk", Status: OK, Title: "Disk"}
	var st unix.Statfs_t
	if err := unix.Statfs(d.Data, &st); err != nil {
		f.Status, f.Detail = Fail, err.Error()
		return f
	}
	free := int64(st.Bavail) * st.Bsize
	f.Detail = fmt.Sprintf("%.1f GiB free", float64(free)/(1<<30))
	switch {
	case free < 256<<20:
		f.Status, f.Fix = Fail, "delete checkpoints, or give it a larger disk"
	case free < 5<<30:
		f.Status, f.Fix = Warn, "delete checkpoints, or give it a larger disk"
	}
	return f
}

func (d Doctor) memory() Finding {
	f := Finding{Code: "memory", Status: OK, Title: "Memory"}
	total := TotalMemory()
	f.Detail = fmt.Sprintf("%.1f GiB, %d cores", float64(total)/(1<<30), runtime.NumCPU())
	if total < 2<<30 {
		f.Status, f.Fix = Warn, "2 GiB are the least for one kernel and the hub"
	}
	return f
}

func (d Doctor) gpu() Finding {
	f := Finding{Code: "gpu", Status: OK, Title: "GPU", Detail: "none; configurations with GPUs are not offered"}
	if _, err := os.Stat("/dev/nvidiactl"); err == nil {
		f.Status, f.Detail, f.Fix = Warn, "there is an NVIDIA GPU; this version does not offer it to kernels yet", ""
	}
	return f
}

// TotalMemory is this machine's memory in bytes.
func TotalMemory() int64 {
	var si unix.Sysinfo_t
	if err := unix.Sysinfo(&si); err != nil {
		return 0
	}
	return int64(si.Totalram) * int64(si.Unit)
}

func lastText(b []byte) string {
	text := strings.TrimSpace(string(b))
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	return text
}
