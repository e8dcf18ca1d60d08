package acceptance

// thingsBeyond have to do with other processes, with files and with sockets.
var thingsBeyond = []thing{
	// Processes.
	{name: "a subprocess with pipes", setup: `
cat = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
cat.stdin.write(b'on its way\n'); cat.stdin.flush()`,
		check:  `cat_said = cat.stdout.readline(); cat.stdin.write(b'on its way\n'); cat.stdin.flush(); cat_said == b'on its way\n' and cat.poll() is None`,
		pickle: "TypeError: cannot pickle '_thread.lock' object"},
	{name: "an asyncio subprocess", setup: `
async_cat = await asyncio.create_subprocess_exec('cat', stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)`,
		check:  `async_cat.stdin.write(b'there\n'); await asyncio.wait_for(async_cat.stdout.readline(), 5) == b'there\n'`,
		pickle: "TypeError: self.handle cannot be converted to a Python object for pickling"},
	{name: "a multiprocessing pool", setup: `
pool = multiprocessing.get_context('fork').Pool(2)`,
		check:  `pool.map_async(math.factorial, range(5)).get(10) == [1, 1, 2, 6, 24]`,
		pickle: "NotImplementedError: pool objects cannot be passed between processes or pickled",
		know:   "Children are frozen and thawed with their parent."},
	{name: "a process pool of concurrent.futures", setup: `
processes = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context('fork')); processes.submit(os.getpid).result(10)`,
		check:  `processes.submit(math.factorial, 4).result(10) == 24`,
		pickle: "TypeError: cannot pickle '_thread.lock' object"},
	{name: "shared memory between processes", setup: `
segment = multiprocessing.shared_memory.SharedMemory(create=True, size=1 << 20); segment.buf[:5] = b'hello'`,
		check:  `other = multiprocessing.shared_memory.SharedMemory(segment.name); other.buf[7] = 7; was = segment.buf[7] == 7 and bytes(segment.buf[:5]) == b'hello'; other.close(); was`,
		pickle: "FileNotFoundError: [Errno 2] No such file or directory"},
	{name: "a pseudo-terminal with a shell", setup: `
master, slave = pty.openpty(); shell = subprocess.Popen(['sh'], stdin=slave, stdout=slave, stderr=slave, start_new_session=True)`,
		check: `
os.write(master, b'echo $((6*7))\n'); terminal = b''
while b'42' not in terminal and select.select([master], [], [], 5)[0]: terminal += os.read(master, 1000)
b'42' in terminal and shell.poll() is None`,
		pickle: "TypeError: cannot pickle '_thread.lock' object"},

	// Files.
	{name: "a file open for reading, half-way", setup: `
open('/project/in.txt', 'w').write(''.join(f'line {i}\n' for i in range(1000)))
reading, line_no = open('/project/in.txt'), 1; reading.readline()`,
		check: `line_no += 1; reading.readline() == f'line {line_no - 1}\n'`},
	{name: "a file open for writing", setup: `
writing, written = open('/project/out.txt', 'w+'), 'begun\n'; writing.write(written); writing.flush(); writing_at = os.fstat(writing.fileno()).st_ino`,
		check:  `at = writing.tell(); writing.write('more\n'); writing.flush(); writing.seek(at); writing.read(5) == 'more\n' == open('/project/out.txt').read()[at:at + 5] and writing.seek(at + 5) and os.stat('/project/out.txt').st_ino == writing_at`,
		pickle: "False",
		know:   "A file is as it is now, the position in it where it was: what was written since stays. Branches write into one file."},
	{name: "text written and not yet flushed", setup: `
unflushed = open('/project/buffer.txt', 'w'); unflushed.write('not yet\n')`,
		check:  `flushed = os.path.getsize('/project/buffer.txt') > 0; unflushed.tell() >= 8; open('/project/buffer.txt').read().startswith('not yet\n')`,
		pickle: "PicklingError: Cannot pickle files that are not opened for reading: w",
		know:   "After an apply and in a branch it is written when it is flushed there, once more."},
	{name: "a file open for appending", setup: `
appending = open('/project/add.txt', 'a+'); appending.write('begun\n'); appending.flush()`,
		check:  `said = f'{time.time()}\n'; appending.write(said); appending.flush(); open('/project/add.txt').read().endswith(said)`,
		pickle: "False"},
	{name: "a file deleted while open", setup: `
deleted = open('/project/deleted.txt', 'w+'); deleted.write('still here'); deleted.flush(); os.unlink('/project/deleted.txt')`,
		check:  `deleted.seek(0); deleted.read() == 'still here' and os.fstat(deleted.fileno()).st_nlink == 0`,
		pickle: "UnsupportedOperation: fileno",
		know:   "What is in it is part of the checkpoint, up to 512 MiB."},
	{name: "a file with two names, deleted by the one it is open by", setup: `
two_names = open('/project/one.txt', 'w+'); two_names.write('still here'); two_names.flush(); os.link('/project/one.txt', '/project/two.txt'); os.unlink('/project/one.txt')`,
		check:  `two_names.seek(0); two_names.read() == 'still here' and os.path.samestat(os.fstat(two_names.fileno()), os.stat('/project/two.txt'))`,
		seen:   map[string]string{"apply": `False`, "branch": `False`},
		pickle: "UnsupportedOperation: fileno",
		know:   "What is in it lies in the project only. A hibernation and a move bring it back; from a checkpoint that was kept it is empty."},
	{name: "a file lock (flock) that is held", setup: `
locked = open('/project/locked', 'w'); fcntl.flock(locked, fcntl.LOCK_EX)`,
		seen: map[string]string{"branch": refused},
		check: `
again = open('/project/locked')
try: fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB); was = 'the lock is not held'
except BlockingIOError: was = True
again.close(); was`,
		pickle: "PicklingError: Cannot pickle files that are not opened for reading: w",
		know:   "A session that holds a lock which another holds by now is not woken: it says which file it is, and comes when that is over."},
	{name: "temporary files and folders", setup: `
named, folder, unnamed = tempfile.NamedTemporaryFile(), tempfile.TemporaryDirectory(), tempfile.TemporaryFile()
for f in named, unnamed: f.write(b'here'); f.flush()
open(folder.name + '/inside', 'w').write('here')`,
		check:  `unnamed.seek(0); open(named.name).read() == open(folder.name + '/inside').read() == unnamed.read().decode() == 'here'`,
		pickle: "TypeError: cannot pickle 'BufferedRandom' instances",
		know:   "`/tmp` is part of the checkpoint."},
	{name: "mmap of a file, numpy.memmap", setup: `
mapped_file = open('/project/mapped', 'w+b'); mapped_file.truncate(1 << 20); mapped = mmap.mmap(mapped_file.fileno(), 0); mapped[:5] = b'hello'
memmap = numpy.memmap('/project/memmap', 'u1', 'w+', shape=1 << 20); memmap[:] = 7`,
		check:  `mapped[9] = (mapped[9] + 1) % 256; open('/project/mapped', 'rb').read()[9] == mapped[9] and mapped[:5] == b'hello' and int(memmap.sum()) == 7 << 20`,
		pickle: "TypeError: cannot pickle 'mmap.mmap' object"},
	{name: "anonymous mmap, shared with a child", setup: `
anonymous = mmap.mmap(-1, 1 << 20); anonymous[:5] = b'hello'; anonymous[9] = 0
if os.fork() == 0:
    while True: anonymous[9] = (anonymous[9] + 1) % 256; time.sleep(.005)`,
		check:  `n = anonymous[9]; time.sleep(.1); anonymous[9] != n and anonymous[:5] == b'hello'`,
		pickle: "TypeError: cannot pickle 'mmap.mmap' object"},
	{name: "a sqlite3 connection to a file", setup: `
db = sqlite3.connect('/project/data.db'); db.execute('CREATE TABLE IF NOT EXISTS t (x)'); db.execute('INSERT INTO t VALUES (41)'); db.commit()`,
		check:  `db.execute('INSERT INTO t VALUES (1)'); db.commit(); db.execute('SELECT x FROM t LIMIT 1').fetchone() == (41,)`,
		pickle: "TypeError: cannot pickle 'sqlite3.Connection' object",
		know:   "The database is a file of the project: it is as it is now."},
	{name: "a sqlite3 database in memory, in a transaction, with a cursor half-way", setup: `
memory = sqlite3.connect(':memory:'); memory.execute('CREATE TABLE t (x)'); memory.executemany('INSERT INTO t VALUES (?)', [(i,) for i in range(1000)])
row, rows = 1, memory.execute('SELECT x FROM t ORDER BY x'); rows.fetchone()`,
		check:  `row += 1; rows.fetchone() == (row - 1,) and memory.in_transaction`,
		pickle: "TypeError: cannot pickle 'sqlite3.Connection' object"},
	{name: "a sqlite3 transaction on a file, not committed", setup: `
open_db = sqlite3.connect('/project/open.db'); open_db.execute('CREATE TABLE t (x)'); open_db.commit(); open_db.execute('INSERT INTO t VALUES (41)')`,
		seen: map[string]string{"branch": refused},
		check: `
try: sqlite3.connect('/project/open.db', timeout=0).execute('BEGIN IMMEDIATE'); was = 'the lock is not held'
except sqlite3.OperationalError: was = True
was and open_db.in_transaction and open_db.execute('SELECT x FROM t').fetchone() == (41,)`,
		pickle: "TypeError: cannot pickle 'sqlite3.Connection' object",
		know:   "As a lock. Commit or roll back before going back to a checkpoint: the transaction knows nothing of what was written to the file since."},

	// Pipes and sockets.
	{name: "pipes, with what is in them", setup: `
r, w = os.pipe(); os.write(w, b'in the pipe')`,
		check:  `piped = os.read(r, 100); os.write(w, piped); piped == b'in the pipe'`,
		pickle: "OSError: [Errno 9] Bad file descriptor"},
	{name: "epoll, eventfd", setup: `
event, poll = os.eventfd(0), select.epoll(); poll.register(event, select.EPOLLIN)`,
		check:  `os.eventfd_write(event, 1); poll.poll(5) == [(event, select.EPOLLIN)] and os.eventfd_read(event) == 1`,
		pickle: "TypeError: cannot pickle 'select.epoll' object"},
	{name: "a pair of Unix sockets", setup: `
left_end, right_end = socket.socketpair(); left_end.send(b'between')`,
		check:  `between = right_end.recv(100); left_end.send(between); between == b'between'`,
		pickle: "TypeError: cannot pickle 'socket' object"},
	{name: "a TCP server in the session", setup: `
listener = socket.create_server(('127.0.0.1', 0))
def serving():
    while True:
        c, _ = listener.accept()
        threading.Thread(target=echoing, args=(c,), daemon=True).start()
def echoing(c):
    while True:
        b = c.recv(100)
        if not b: return
        c.sendall(b)
threading.excepthook = lambda args: None
threading.Thread(target=serving, daemon=True).start()`,
		check: `
with socket.create_connection(listener.getsockname(), 5) as c: c.sendall(b'hello'); echoed = c.recv(100)
echoed == b'hello'`,
		pickle: "TypeError: cannot pickle 'socket' object"},
	{name: "a UDP socket", setup: `
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(('127.0.0.1', 0)); udp.settimeout(5)`,
		check:  `udp.sendto(b'hello', udp.getsockname()); udp.recv(100) == b'hello'`,
		pickle: "TypeError: cannot pickle 'socket' object"},
	{name: "a TCP connection within the session", setup: `
inner = socket.create_connection(listener.getsockname(), 5); inner.sendall(b'hello'); inner.recv(100)`,
		check:  `inner.sendall(b'hello'); inner.recv(100) == b'hello'`,
		all:    `BrokenPipeError: [Errno 32] Broken pipe`,
		pickle: "TypeError: cannot pickle 'socket' object",
		know:   "TCP connections are closed by every freeze, also those that stay within the session. Unix sockets and pipes are not."},
	{name: "a TCP connection within the session, read only", setup: `
silent = socket.create_connection(listener.getsockname(), 5); silent.settimeout(.05)`,
		check: `
try: silent.recv(100)
except TimeoutError: pass
silent.getpeername() == listener.getsockname()`,
		all:    `OSError: [Errno 107] Transport endpoint is not connected`,
		pickle: "TypeError: cannot pickle 'socket' object",
		know:   "Reading fails, too, with an error."},
	{name: "a thread that waits in recv() on a TCP connection", setup: `
waiting_end, ended = socket.create_connection(listener.getsockname(), 5), []
def receiving():
    try: ended.append(f'{len(waiting_end.recv(100))} bytes')
    except OSError as e: ended.append(f'{type(e).__name__}: {e}')
waiting_end.settimeout(None); threading.Thread(target=receiving, daemon=True).start()`,
		check:  `time.sleep(.2); ended[0] if ended else True`,
		all:    `'0 bytes'`,
		pickle: "TypeError: cannot pickle 'socket' object",
		know:   "Who waits reads the end of the stream."},
	{name: "a TCP connection to the outside", setup: `
outer = socket.create_connection(('198.51.100.2', 7000), 5); outer.sendall(b'hello'); outer.recv(100)`,
		check:  `outer.sendall(b'hello'); outer.recv(100) == b'hello'`,
		all:    `BrokenPipeError: [Errno 32] Broken pipe`,
		pickle: "TypeError: cannot pickle 'socket' object",
		know:   "Open it again, or have [a hook](howto/hooks.md) do so."},
	{name: "a new TCP connection to the outside", setup: `
def reach():
    with socket.create_connection(('198.51.100.2', 7000), 5) as c: c.sendall(b'hello'); return c.recv(100)`,
		check: `reach() == b'hello'`},
}
