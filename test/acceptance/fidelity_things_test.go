package acceptance

import "slices"

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
var things = slices.Concat(thingsWithin, thingsBeyond)

// thingsWithin are in the memory of one process.
var thingsWithin = []thing{
	// Data.
	{name: "numbers, text, bytes, nested containers", setup: `
plain = {'int': 2**70, 'float': .1, 'text': 'Grüße', 'bytes': b'\0\xff', 'deep': [[1], [2, {'a': (3, {4})}]]}; plain_was = repr(plain)`,
		check: `repr(plain) == plain_was`},
	{name: "a NumPy array of 256 MiB", setup: `
large = numpy.random.default_rng(1).integers(0, 255, 256 << 20, numpy.uint8); large_was = hashlib.sha256(large).digest()`,
		check: `hashlib.sha256(large).digest() == large_was`},
	{name: "a NumPy view of another array", setup: `
base = numpy.zeros(10); view = base[2:5]`,
		check:  `view[0] += 1; bool(base[2] == view[0]) and numpy.shares_memory(base, view)`,
		pickle: "False",
		know:   "A pickle makes two arrays of it."},
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
		pickle: "PicklingError: Can't pickle <built-in function input>: it's not the same object as builtins.input",
		know:   "A page that is opened later shows the widget as it is."},

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
		pickle: "TypeError: cannot pickle '_hashlib.HASH' object"},
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
		pickle: "SystemError: not this one",
		know:   "The code that was imported goes on; `importlib.reload` takes the new one."},
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
		pickle: "False",
		know:   "As `random`."},
	{name: "random generators of one's own", setup: `
generator, twin = numpy.random.default_rng(7), numpy.random.default_rng(7)`,
		check: `generator.random() == twin.random()`,
		know:  "Two branches draw the same numbers from them; `after_restore` is the place to seed them anew."},

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
		check: `0 <= time.monotonic() - clock < 600`,
		know:  ""},

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
		pickle: "TypeError: cannot pickle '_thread.lock' object"},
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
}
