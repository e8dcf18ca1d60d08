package acceptance

// thing is what a person may have in a session: how it comes to be, and a question
// that is True as long as it is whole, however often it is asked.
type thing struct {
	name, setup, check string

	all    string            // what the question brings after every deed, when that is not True
	seen   map[string]string // after one of them
	pickle string            // when cloudpickle saved its variables and a new kernel loads them
	know   string            // what a person ought to know
}

// after is what the question brings, by deed or "pickle".
func (th thing) after(deed string) string {
	text := th.seen[deed]
	switch deed {
	case "hibernate", "apply", "branch", "move":
		text += th.all
	case "pickle":
		text = th.pickle
	}
	if text == "" {
		return "True"
	}
	return text
}

// prelude is what every session begins with, also the one that loads pickles.
const prelude = `
import asyncio, collections, concurrent.futures, contextvars, ctypes, decimal, functools, hashlib, io, itertools, logging, math, mmap, multiprocessing
import contextlib, fcntl, os, pty, queue, random, resource, re, select, signal, socket, sqlite3, subprocess, sys, tempfile, threading, time, warnings, weakref, zlib
import multiprocessing.shared_memory, cloudpickle, numpy, pandas
warnings.simplefilter('ignore')
os.makedirs('here', exist_ok=True); _names = {}
`

// refused is what a deed says of a thing that only one session can have at a time.
const refused = "not while the first session holds it"

// things is the table: docs/fidelity.md shows it.
var things = []thing{
	// Data.
	{name: "numbers, text, bytes, nested containers", setup: `
plain = {'int': 2**70, 'float': .1, 'text': 'Grüße', 'bytes': b'\0\xff', 'deep': [[1], [2, {'a': (3, {4})}]]}; plain_was = repr(plain)`,
		check: `repr(plain) == plain_was`},
	{name: "a NumPy array of 256 MiB", setup: `
large = numpy.random.default_rng(1).integers(0, 255, 256 << 20, numpy.uint8); large_was = hashlib.sha256(large).digest()`,
		check: `hashlib.sha256(large).digest() == large_was`},
	{name: "a NumPy view of another array", setup: `
base = numpy.zeros(10); view = base[2:5]`,
		check:  `view[0] += 1; base[2] == view[0] and numpy.shares_memory(base, view)`,
		pickle: "np.False_"},
	{name: "a pandas data frame", setup: `
frame = pandas.DataFrame({'n': range(1000), 'c': pandas.Categorical(list('abcd') * 250), 't': pandas.date_range('2020-01-01', periods=1000, tz='Europe/Berlin')})
frame_was = pandas.util.hash_pandas_object(frame).sum()`,
		check: `pandas.util.hash_pandas_object(frame).sum() == frame_was and list(frame.groupby('c', observed=True).n.sum()) == [124500, 124750, 125000, 125250]`},
	{name: "a trained scikit-learn pipeline", setup: `
import sklearn.datasets, sklearn.linear_model, sklearn.pipeline, sklearn.preprocessing
iris = sklearn.datasets.load_iris()
model = sklearn.pipeline.make_pipeline(sklearn.preprocessing.StandardScaler(), sklearn.linear_model.LogisticRegression()).fit(iris.data, iris.target)
model_was = model.predict_proba(iris.data)`,
		check: `numpy.array_equal(model.predict_proba(iris.data), model_was)`},
	{name: "a Matplotlib figure", setup: `
import matplotlib.figure
def drawn(figure):
    out = io.BytesIO(); figure.savefig(out, format='rgba'); return out.getvalue()
figure = matplotlib.figure.Figure(); figure.subplots().plot([1, 3, 2]); figure_was = drawn(figure)`,
		check: `drawn(figure) == figure_was`},
	{name: "pyplot: the current figure and axes, rcParams", setup: `
import matplotlib.pyplot as plt
plt.switch_backend('agg'); plt.rcParams['lines.linewidth'] = 7; plt.figure(77); plt.plot([1, 2]); pyplot_figure = plt.gcf()`,
		check:  `plt.get_fignums() == [77] and plt.gca() is pyplot_figure.axes[0] and plt.gca().lines[0].get_linewidth() == 7`,
		pickle: "False"},
	{name: "an ipywidgets slider with a callback", setup: `
import ipywidgets
slider, slid = ipywidgets.IntSlider(value=3, max=1000000), []
slider.observe(lambda change: slid.append(change.new), 'value')`,
		check:  `slider.value += 1; slid[-1] == slider.value and slider.comm.comm_id in get_ipython().kernel.comm_manager.comms`,
		pickle: "PicklingError: Can't pickle <built-in function input>: it's not the same object as builtins.input"},

	// Code half-way.
	{name: "a generator half-way", setup: `
steps, steps_seen = (i * i for i in itertools.count()), 2; next(steps), next(steps)`,
		check:  `steps_seen += 1; next(steps) == (steps_seen - 1) ** 2`,
		pickle: "TypeError: cannot pickle 'generator' object"},
	{name: "an asynchronous generator half-way", setup: `
async def counting():
    n = 0
    while True: n += 1; yield n
async_steps, async_seen = counting(), 1
await anext(async_steps)`,
		check:  `async_seen += 1; await anext(async_steps) == async_seen`,
		pickle: "TypeError: cannot pickle 'async_generator' object"},
	{name: "iterators half-way (zip, itertools, a regular expression)", setup: `
zipped, matches, iterated = zip(itertools.count(), itertools.cycle('ab')), re.finditer('.', 'x' * 1000), 1; next(zipped), next(matches)`,
		check:  `iterated += 1; next(zipped) == (iterated - 1, 'ab'[(iterated - 1) % 2]) and next(matches).start() == iterated - 1`,
		pickle: "TypeError: cannot pickle '_sre.SRE_Scanner' object"},
	{name: "a context manager that is open", setup: `
@contextlib.contextmanager
def managed():
    inside.append(1)
    try: yield
    finally: inside.pop()
inside, manager = [], contextlib.ExitStack(); manager.enter_context(managed())`,
		check:  `was_inside = inside == [1]; manager.close(); left = inside == []; manager.enter_context(managed()); was_inside and left`,
		pickle: "TypeError: cannot pickle 'generator' object"},

	// Python's own corners.
	{name: "lambdas, closures", setup: `
def counter():
    n = 0
    def add():
        nonlocal n; n += 1; return n
    return add
add, added, double = counter(), 1, lambda x: x * 2; add()`,
		check: `added += 1; add() == added and double(21) == 42`},
	{name: "instances of a local class", setup: `
def make():
    class Local:
        def __init__(self): self.n = 41
        def more(self): return super().__hash__() and self.n + 1
    return Local
Local = make(); local = Local()`,
		check: `local.more() == 42 and type(local) is Local`},
	{name: "cycles and shared objects", setup: `
ring = [1]; ring.append(ring); shared = {}; pair = (shared, [shared])`,
		check: `ring[1] is ring and pair[0] is pair[1][0] is shared`},
	{name: "the identity of objects (id, hash)", setup: `
thing = object(); thing_id = id(thing), hash(thing), hash('text')`,
		check:  `(id(thing), hash(thing), hash('text')) == thing_id`,
		pickle: "False"},
	{name: "weak references", setup: `
class Node: pass
node = Node(); weak, weak_values = weakref.ref(node), weakref.WeakValueDictionary(a=node); gone = []; weakref.finalize(node, gone.append, 1)`,
		check:  `weak() is node and weak_values['a'] is node and gone == []`,
		pickle: "TypeError: cannot pickle 'weakref.ReferenceType' object"},
	{name: "an lru_cache with what it has", setup: `
@functools.lru_cache
def slow(n): return n * n
slow(3), slow(4)`,
		check:  `before = slow.cache_info().misses; slow(3) + slow(4) == 25 and slow.cache_info().misses == before == 2`,
		pickle: "AttributeError: Can't get attribute 'slow' on <module '__main__'>"},
	{name: "a hash and a compressor half-way", setup: `
digest, packer = hashlib.sha256(b'one'), zlib.compressobj(); packed = packer.compress(b'one')`,
		check:  `copy = digest.copy(); copy.update(b'two'); copy.hexdigest() == hashlib.sha256(b'onetwo').hexdigest() and zlib.decompress(packed + packer.copy().flush()) == b'one'`,
		pickle: "TypeError: cannot pickle 'zlib.Compress' object"},
	{name: "memory of C libraries (ctypes)", setup: `
buffer = ctypes.create_string_buffer(b'hello', 1 << 20); address = ctypes.cast(buffer, ctypes.c_void_p).value`,
		check:  `ctypes.string_at(address, 5) == b'hello'`,
		pickle: "AttributeError: type object 'CType_Type' has no attribute '__mul__'"},
	{name: "decimal context", setup: `
decimal.getcontext().prec = 7; decimal.setcontext(decimal.getcontext())`,
		check:  `decimal.getcontext().prec == 7 and str(decimal.Decimal(1) / 3) == '0.3333333'`,
		pickle: "False"},
	{name: "a changed module, a class that was patched", setup: `
math.answer = 42; collections.Counter.answer = lambda self: 42`,
		check:  `math.answer == 42 and collections.Counter().answer() == 42`,
		pickle: "AttributeError: module 'math' has no attribute 'answer'"},
	{name: "a module of the project that was edited since", setup: `
open('helper.py', 'w').write('def f(): return 42\ncount = 0\n')
import helper; helper.count = 3; open('helper.py', 'w').write('raise SystemError("not this one")\n')`,
		check:  `helper.f() == 42 and helper.count == 3`,
		pickle: "SystemError: not this one"},
	{name: "In, Out, _", setup: `
In_was = len(In); Out[-1] = 'an output'`,
		check:  `Out[-1] == 'an output' and 'In_was' in In[In_was - 1]`,
		pickle: "KeyError: -1"},
	{name: "magics, aliases", setup: `
get_ipython().register_magic_function(lambda line: 42, 'line', 'answer'); get_ipython().run_line_magic('alias', 'shout echo SHOUT'); magic = True`,
		check:  `get_ipython().run_line_magic('answer', '') == 42 and get_ipython().alias_manager.is_alias('shout')`,
		pickle: "UsageError: Line magic function `%answer` not found."},

	// Random numbers.
	{name: "random: the state of the module", setup: `
random.seed(7); random_next = random.Random(); random_next.setstate(random.getstate())`,
		check:  `random.random() == random_next.random()`,
		know:   "A branch draws other numbers than the first session, on purpose.",
		seen:   map[string]string{"branch": `False`},
		pickle: "False"},
	{name: "numpy.random: the global state", setup: `
numpy.random.seed(7); numpy_next = numpy.random.RandomState(); numpy_next.set_state(numpy.random.get_state())`,
		check:  `numpy.random.rand() == numpy_next.rand()`,
		seen:   map[string]string{"branch": `False`},
		pickle: "False"},
	{name: "random generators of one's own", setup: `
generator, twin = numpy.random.default_rng(7), numpy.random.default_rng(7)`,
		check: `generator.random() == twin.random()`},

	// The process.
	{name: "process ID, and those of children", setup: `
pid = os.getpid(); child = subprocess.Popen(['sleep', '1000000'])`,
		check:  `os.getpid() == pid and child.poll() is None and os.getpgid(child.pid) > 0`,
		pickle: "TypeError: cannot pickle '_thread.lock' object"},
	{name: "environment", setup: `
os.environ['FIDELITY'] = 'kept'; fidelity = 1`,
		check:  `subprocess.check_output('echo $FIDELITY', shell=True) == b'kept\n'`,
		pickle: "False"},
	{name: "working directory", setup: `
os.chdir('here'); here = 1`,
		check:  `os.getcwd() == '/project/here' and os.path.samefile('.', '/project/here')`,
		pickle: "False"},
	{name: "umask, resource limits", setup: `
os.umask(0o027); resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))`,
		check:  `mask = os.umask(0o027); mask == 0o027 and resource.getrlimit(resource.RLIMIT_NOFILE) == (1000, 1000)`,
		pickle: "False"},
	{name: "logging handlers", setup: `
log_text = io.StringIO(); log = logging.getLogger('fidelity'); log.setLevel('DEBUG'); log.propagate = False
log.addHandler(logging.StreamHandler(log_text)); log.addHandler(logging.FileHandler('/project/fidelity.log'))`,
		check:  `said = f'said {time.time()}'; log.debug(said); log_text.getvalue().endswith(said + '\n') and open('/project/fidelity.log').read().endswith(said + '\n')`,
		pickle: "False"},
	{name: "warnings filters", setup: `
warnings.filterwarnings('error', message='fidelity'); filtered = 1`,
		check: `
try: warnings.warn('fidelity'); raised = False
except UserWarning: raised = True
raised`,
		pickle: "False"},
	{name: "signal handlers and interval timers", setup: `
alarms = []; signal.signal(signal.SIGALRM, lambda *_: alarms.append(1)); signal.setitimer(signal.ITIMER_REAL, .02, .02)`,
		check:  `n = len(alarms); time.sleep(.2); len(alarms) > n`,
		pickle: "False"},
	{name: "the monotonic clock", setup: `
clock = time.monotonic()`,
		check: `0 <= time.monotonic() - clock < 600`},
	{name: "the processor time that was used", setup: `
used = time.process_time()`,
		check:  `time.process_time() > used`,
		all:    `False`,
		pickle: "False"},

	// Threads and tasks.
	{name: "a thread", setup: `
beats = 0
def beat():
    global beats
    while True: beats += 1; time.sleep(.01)
threading.Thread(target=beat, daemon=True).start()`,
		check:  `n = beats; time.sleep(.1); beats > n`,
		pickle: "False"},
	{name: "a lock that is held, and a thread that waits for it", setup: `
lock, passed = threading.Lock(), queue.Queue(); lock.acquire()
def passing():
    while True:
        with lock: passed.put(1)
        turn.wait(); turn.clear()
turn = threading.Event(); threading.Thread(target=passing, daemon=True).start()`,
		check:  `held = lock.locked() and passed.empty(); lock.release(); passed.get(timeout=5); lock.acquire(); turn.set(); held`,
		pickle: "TypeError: cannot pickle '_thread.lock' object"},
	{name: "a thread pool with work under way", setup: `
gate = threading.Event(); threads = concurrent.futures.ThreadPoolExecutor(2); pending = threads.submit(gate.wait)`,
		check:  `pending.running() and threads.submit(lambda: 6 * 7).result(5) == 42`,
		pickle: "TypeError: cannot pickle '_queue.SimpleQueue' object"},
	{name: "thread-local and context variables", setup: `
here_only, variable = threading.local(), contextvars.ContextVar('variable'); here_only.x = 41; context = contextvars.copy_context(); context.run(variable.set, 42)`,
		check:  `here_only.x == 41 and context[variable] == 42`,
		pickle: "TypeError: cannot pickle '_contextvars.Context' object"},
	{name: "an asyncio task", setup: `
ticks, asked, answers = 0, asyncio.Queue(), asyncio.Queue()
async def ticking():
    global ticks
    while True: ticks += 1; await asyncio.sleep(.01)
async def answering():
    while True: await answers.put(await asked.get() * 2)
tasks = [asyncio.create_task(ticking()), asyncio.create_task(answering())]`,
		check:  `n = ticks; await asyncio.sleep(.1); await asked.put(21); ticks > n and await asyncio.wait_for(answers.get(), 5) == 42`,
		pickle: "TypeError: self.handle cannot be converted to a Python object for pickling"},

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
		pickle: "NotImplementedError: pool objects cannot be passed between processes or pickled"},
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
		check: `at = writing.tell(); writing.write('more\n'); writing.flush(); writing.seek(at); writing.read(5) == 'more\n' == open('/project/out.txt').read()[at:at + 5] and writing.seek(at + 5) and os.stat('/project/out.txt').st_ino == writing_at`},
	{name: "text written and not yet flushed", setup: `
unflushed = open('/project/buffer.txt', 'w'); unflushed.write('not yet\n')`,
		check:  `flushed = os.path.getsize('/project/buffer.txt') > 0; unflushed.tell() >= 8; open('/project/buffer.txt').read().startswith('not yet\n')`,
		pickle: "PicklingError: Cannot pickle files that are not opened for reading: w"},
	{name: "a file open for appending", setup: `
appending = open('/project/add.txt', 'a+'); appending.write('begun\n'); appending.flush()`,
		check:  `said = f'{time.time()}\n'; appending.write(said); appending.flush(); open('/project/add.txt').read().endswith(said)`,
		pickle: "False"},
	{name: "a file deleted while open", setup: `
deleted = open('/project/deleted.txt', 'w+'); deleted.write('still here'); deleted.flush(); os.unlink('/project/deleted.txt')`,
		check: `deleted.seek(0); deleted.read() == 'still here' and os.fstat(deleted.fileno()).st_nlink == 0`},
	{name: "a file with two names, deleted by the one it is open by", setup: `
two_names = open('/project/one.txt', 'w+'); two_names.write('still here'); two_names.flush(); os.link('/project/one.txt', '/project/two.txt'); os.unlink('/project/one.txt')`,
		check:  `two_names.seek(0); two_names.read() == 'still here' and os.path.samestat(os.fstat(two_names.fileno()), os.stat('/project/two.txt'))`,
		seen:   map[string]string{"apply": `False`, "branch": `False`},
		pickle: "UnsupportedOperation: fileno"},
	{name: "a file lock (flock) that is held", setup: `
locked = open('/project/locked', 'w'); fcntl.flock(locked, fcntl.LOCK_EX)`,
		seen: map[string]string{"branch": refused},
		check: `
again = open('/project/locked')
try: fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB); was = 'the lock is not held'
except BlockingIOError: was = True
again.close(); was`,
		pickle: "PicklingError: Cannot pickle files that are not opened for reading: w"},
	{name: "temporary files and folders", setup: `
named, folder, unnamed = tempfile.NamedTemporaryFile(), tempfile.TemporaryDirectory(), tempfile.TemporaryFile()
for f in named, unnamed: f.write(b'here'); f.flush()
open(folder.name + '/inside', 'w').write('here')`,
		check:  `unnamed.seek(0); open(named.name).read() == open(folder.name + '/inside').read() == unnamed.read().decode() == 'here'`,
		pickle: "TypeError: cannot pickle 'BufferedRandom' instances"},
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
		pickle: "TypeError: cannot pickle 'sqlite3.Connection' object"},
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
		pickle: "TypeError: cannot pickle 'sqlite3.Connection' object"},

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
		pickle: "TypeError: cannot pickle 'socket' object"},
	{name: "a TCP connection within the session, read only", setup: `
silent = socket.create_connection(listener.getsockname(), 5); silent.settimeout(.05)`,
		check: `
try: silent.recv(100)
except TimeoutError: pass
silent.getpeername() == listener.getsockname()`,
		all:    `OSError: [Errno 107] Transport endpoint is not connected`,
		pickle: "TypeError: cannot pickle 'socket' object"},
	{name: "a thread that waits in recv() on a TCP connection", setup: `
waiting_end, ended = socket.create_connection(listener.getsockname(), 5), []
def receiving():
    try: ended.append(f'{len(waiting_end.recv(100))} bytes')
    except OSError as e: ended.append(f'{type(e).__name__}: {e}')
waiting_end.settimeout(None); threading.Thread(target=receiving, daemon=True).start()`,
		check:  `time.sleep(.2); ended[0] if ended else True`,
		all:    `'0 bytes'`,
		pickle: "TypeError: cannot pickle 'socket' object"},
	{name: "a TCP connection to the outside", setup: `
outer = socket.create_connection(('198.51.100.2', 7000), 5); outer.sendall(b'hello'); outer.recv(100)`,
		check:  `outer.sendall(b'hello'); outer.recv(100) == b'hello'`,
		all:    `BrokenPipeError: [Errno 32] Broken pipe`,
		pickle: "TypeError: cannot pickle 'socket' object"},
	{name: "a new TCP connection to the outside", setup: `
def reach():
    with socket.create_connection(('198.51.100.2', 7000), 5) as c: c.sendall(b'hello'); return c.recv(100)`,
		check: `reach() == b'hello'`},
}
