"""A process whose memory comes from a pager, as CRIU leaves one: a region that is
registered with a userfaultfd, which goes to the pager over descriptor 3.

It says "PID ADDRESS" (or "no: WHY"), then runs each line of its standard input
and answers each with one line: "ok", or what went wrong."""
import ctypes, errno, fcntl, hashlib, os, platform, random, socket, struct, sys, threading

PAGE, PAGES = 4096, int(sys.argv[1])
PRIVATE_ANONYMOUS, READ_WRITE, MAYMOVE, FIXED, DONTNEED = 0x22, 3, 1, 2, 4
MAP_FIXED = 0x10
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
criu = socket.socket(fileno=3)


def worked(result):
    if result in (-1, None, 2**64 - 1):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def content(source):
    """The page that lies at a place of the pages file; None is zeros."""
    return bytes(PAGE) if source is None else hashlib.sha256(b"%d" % source).digest() * (PAGE // 32)


def mapped(address, pages, flags=0):
    return worked(libc.mmap(address, pages * PAGE, READ_WRITE, PRIVATE_ANONYMOUS | flags, -1, 0))


def registered():
    uffd = worked(libc.syscall({"x86_64": 323, "aarch64": 282}[platform.machine()], os.O_CLOEXEC | os.O_NONBLOCK))
    events = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 6  # fork, remap, remove, unmap
    fcntl.ioctl(uffd, 0xC018AA3F, struct.pack("QQQ", 0xAA, events, 0))
    base = mapped(None, PAGES)
    fcntl.ioctl(uffd, 0xC020AA00, struct.pack("QQQQ", base, PAGES * PAGE, 1, 0))
    return uffd, base


class Region:
    """What ought to be at each page: its place in the pages file, None for zeros;
    pages that are not mapped are not in it."""

    def __init__(self, base, sources):
        self.base, self.want = base, dict(enumerate(sources))

    def at(self, page):
        return self.base + page * PAGE

    def touch(self, page):
        buffer = ctypes.create_string_buffer(PAGE)
        libc.memcpy(buffer, self.at(page), PAGE)  # by libc: another thread goes on meanwhile
        if buffer.raw != content(self.want[page]):
            raise AssertionError(f"page {page} holds {buffer.raw[:8].hex()}, not {self.want[page]}")

    def check(self, pages=None):
        pages = list(self.want if pages is None else pages)
        random.shuffle(pages)
        for page in pages:
            self.touch(page)

    def forget(self, first, n):
        worked(libc.madvise(self.at(first), n * PAGE, DONTNEED))
        self.want.update((page, None) for page in range(first, first + n))

    def renew(self, first, n):
        worked(libc.munmap(self.at(first), n * PAGE))
        assert mapped(self.at(first), n, MAP_FIXED) == self.at(first)
        self.want.update((page, None) for page in range(first, first + n))

    def unmap(self, first, n):
        worked(libc.munmap(self.at(first), n * PAGE))
        for page in range(first, first + n):
            del self.want[page]

    def write(self, page):
        ctypes.memmove(self.at(page), content(10**6 + page), PAGE)
        self.want[page] = 10**6 + page

    def move(self, first, to, n):
        if libc.mremap(self.at(first), n * PAGE, n * PAGE, MAYMOVE | FIXED, self.at(to)) != self.at(to):
            # Several mappings do not go at once: one by one. Some kernels have moved the first by now.
            assert ctypes.get_errno() == errno.EFAULT, os.strerror(ctypes.get_errno())
            for i in range(n):
                libc.mremap(self.at(first + i), PAGE, PAGE, MAYMOVE | FIXED, self.at(to + i))
        for i in range(n):
            self.want[to + i] = self.want.pop(first + i)
        assert mapped(self.at(first), n, MAP_FIXED) == self.at(first)
        self.want.update((first + i, None) for i in range(n))

    def move_away(self, first, n):
        """Moves a part to where nothing was, twice as long; it is a region of its own then."""
        address = worked(libc.mremap(self.at(first), n * PAGE, 2 * n * PAGE, MAYMOVE, None))
        part = Region(address, [self.want.pop(first + i) for i in range(n)] + [None] * n)
        return part

    def fork(self, deep=1):
        """A child, and its child, find what this process finds."""
        pid = os.fork()
        if pid == 0:
            try:
                if deep:
                    self.check(list(self.want)[::2])
                    self.fork(deep - 1)
                self.check()
                os._exit(0)
            except BaseException as e:
                print("in a child:", e, file=sys.stderr, flush=True)
                os._exit(1)
        if os.waitpid(pid, 0)[1] != 0:
            raise AssertionError("a child found something else")


def send():
    """Gives the pager the process, as CRIU does."""
    global uffd
    criu.send(struct.pack("<i", os.getpid()))
    socket.send_fds(criu, [b"\0"], [uffd])
    os.close(uffd)


def running():
    criu.send(struct.pack("<I", 0x52535446))


def riot(region, seed, steps):
    """Random deeds, while two threads read what nobody changes."""
    r = random.Random(seed)
    half = PAGES // 2
    stop, bad = threading.Event(), []

    def reader():
        pages = list(range(half, PAGES))
        random.Random(seed + 1).shuffle(pages)
        for page in pages:
            if stop.is_set():
                return
            try:
                region.touch(page)
            except BaseException as e:
                bad.append(e)
                return

    readers = [threading.Thread(target=reader) for _ in range(2)]
    for t in readers:
        t.start()
    try:
        for _ in range(steps):
            n = r.randrange(1, 9)
            first, to = r.randrange(half - n), r.randrange(half - n)
            deed = r.randrange(7)
            if deed == 0:
                region.forget(first, n)
            elif deed == 1:
                region.renew(first, n)
            elif deed == 2 and (to >= first + n or first >= to + n):
                region.move(first, to, n)
            elif deed == 3:
                region.write(first)
            elif deed == 4 and r.randrange(6) == 0:
                region.fork(0)
            else:
                region.check(range(first, first + n))
    finally:
        stop.set()
        for t in readers:
            t.join()
    if bad:
        raise bad[0]
    region.check()


try:
    uffd, base = registered()
except (OSError, KeyError) as e:
    print("no:", e, flush=True)
    sys.exit()
print(os.getpid(), base, flush=True)
for line in sys.stdin:
    try:
        exec(line, globals())
        print("ok", flush=True)
    except BaseException as e:
        print(f"{type(e).__name__}: {e}", flush=True)
