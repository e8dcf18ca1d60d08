"""Run by variables_test.go: lists a namespace in which every object tries to be
asked for something. Whatever is asked ends up in `touched`, and must not."""

import ast
import builtins
import collections
import datetime
import inspect
import json
import sys
import threading
import weakref

sys.path.insert(0, "python")
from cellar_kernel import glance, libraries, probe, variables

touched = []


def bomb(where):
    def method(*args, **named):
        touched.append(where)
        raise SystemExit(where)

    return method


METHODS = """__repr__ __str__ __len__ __iter__ __getattr__ __getattribute__ __hash__ __eq__ __ne__ __lt__ __bool__ __format__
__sizeof__ __dir__ __contains__ __getitem__ __index__ __int__ __float__ __instancecheck__ __subclasscheck__ __call__ __reduce__
__reduce_ex__ __bytes__ __array__ __torch_function__ __length_hint__ __next__ __get__ __enter__ __missing__ __reversed__""".split()


def hostile(name, bases=(), meta=type, **more):
    methods = {m: bomb(f"{name}.{m}") for m in METHODS}
    for attribute in ("__class__", "__dict__", "shape", "dtype", "nbytes", "size", "_mgr", "device", "__module__", "tzinfo"):
        methods[attribute] = property(bomb(f"{name}.{attribute}"))
    return meta(name, bases, {**methods, **more})


class Lazy(type):
    """A metaclass that answers for its classes."""


for each in METHODS:
    if each not in ("__call__", "__instancecheck__", "__subclasscheck__", "__getattribute__"):
        setattr(Lazy, each, bomb(f"Lazy.{each}"))
Lazy.__name__ = "Lazy"


class StrangeMeta(type):
    __getattribute__ = bomb("StrangeMeta.__getattribute__")
    __hash__ = bomb("StrangeMeta.__hash__")
    __eq__ = bomb("StrangeMeta.__eq__")
    __instancecheck__ = bomb("StrangeMeta.__instancecheck__")
    __subclasscheck__ = bomb("StrangeMeta.__subclasscheck__")
    __name__ = property(bomb("StrangeMeta.__name__"))
    __mro__ = property(bomb("StrangeMeta.__mro__"))
    __module__ = property(bomb("StrangeMeta.__module__"))


class Text(str):
    __str__ = __repr__ = __format__ = __getitem__ = __len__ = isprintable = bomb("Text")
    __eq__ = __hash__ = bomb("Text.__eq__")


class Zone(datetime.tzinfo):
    utcoffset = tzname = dst = __repr__ = bomb("Zone")


class Key:
    """A key of a namespace that has the hash of a name."""

    __hash__ = lambda self: hash("plain")
    armed = False

    def __eq__(self, other):
        if self.armed:
            touched.append("Key.__eq__")
        return False


def make(kind, *args):
    return kind.__base__.__new__(kind, *args) if kind.__base__ is not object else object.__new__(kind)


namespace, hidden = {}, {}


class Events:
    def register(self, event, function):
        assert event == "post_execute"


class Shell:
    user_ns, user_ns_hidden, events = namespace, hidden, Events()


variables.attach(Shell)


def listed():
    answer = json.loads(variables.listing())
    return answer["total"], {v["name"]: v for v in answer["items"]}


def test_hostile_objects():
    objects = {f"own_{base.__name__}": make(hostile(f"Own_{base.__name__}", (base,))) for base in (dict, list, tuple, set, frozenset, str, bytes, collections.deque)}
    dict.update(objects["own_dict"], {1: 2, 3: 4})
    objects["number"] = int.__new__(hostile("Number", (int,)), 5)
    objects["plain"] = make(hostile("Plain"))
    objects["moment"] = datetime.datetime(2026, 1, 1, tzinfo=Zone())
    objects["lazy"] = object.__new__(Lazy("OfLazy", (), {}))
    objects["lazy_class"] = Lazy("OfLazy", (), {})
    objects["strange"] = object.__new__(type.__new__(StrangeMeta, "Strange", (), {}))
    objects["strange_class"] = type.__new__(StrangeMeta, "Strange", (), {})
    objects["frame"] = object.__new__(type("DataFrame", (), {"__module__": "pandas.core.frame", "_mgr": property(bomb("DataFrame._mgr"))}))
    for name, module in {"ndarray": "numpy", "generic": "numpy", "TensorBase": "torch._C", "BlockManager": "pandas._libs.internals"}.items():
        objects[name] = object.__new__(hostile(name, __module__=module))
    pretender = type("DataFrame", (), {"__module__": "pandas.core.frame"})()
    pretender.__dict__["_mgr"] = make(hostile("Manager"))
    objects["pretender"] = pretender
    objects["text"] = Text("x")
    renamed = type("Renamed", (), {})
    if sys.version_info < (3, 14):
        renamed.__name__ = Text("Renamed")
    objects["renamed"] = renamed()
    inner = list(objects.values())
    objects |= {"in_list": inner, "in_tuple": tuple(inner), "in_dict": dict(enumerate(inner)), "in_deque": collections.deque(inner)}
    objects["sliced"] = slice(inner[0], inner[1], inner[2])
    namespace.clear()
    namespace.update(objects)
    bad_builtins = {b: getattr(builtins, b) for b in ("len", "repr", "str", "type", "isinstance", "getattr", "min", "id", "dict", "list", "int", "range", "enumerate", "zip", "max", "tuple", "property")}
    for b in bad_builtins:
        setattr(builtins, b, bomb(f"builtins.{b}"))
    try:
        text = variables.listing()
    finally:
        for b, was in bad_builtins.items():
            setattr(builtins, b, was)
    assert not touched, touched
    got = {v["name"]: v for v in json.loads(text)["items"]}
    assert set(got) == set(objects), set(got) ^ set(objects)
    assert got["own_dict"] == {"name": "own_dict", "type": "Own_dict", "size": 0, "partial": True, "shape": "(2)"}, got["own_dict"]
    assert got["strange"]["type"] == "Strange" and got["renamed"]["type"] == "Renamed"
    assert got["frame"]["type"] == "DataFrame" and "shape" not in got["frame"]
    assert got["in_list"]["shape"] == f"({len(inner)})" and got["in_list"]["value"].startswith("[<Own_dict>, <Own_list>"), got["in_list"]


def test_builtins_are_bound():
    for module in (variables, probe, glance, libraries):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Name) and hasattr(builtins, node.id):
                assert node.id in vars(module) or node.id == "Exception", (module.__name__, node.id)


def test_keys():
    namespace.clear()
    namespace.update({"plain": 1, Key(): 2, 3: 4, b"bytes": 5, "other": [6]})
    Key.armed = True
    total, got = listed()
    assert not touched, touched
    assert total == 2 and set(got) == {"plain", "other"}, got


def test_names():
    namespace.clear()
    names = {"naïve": "naïve", "x\u202ey": "x\\u202ey", "\ud800": "\\ud800", "a\nb": "a\\nb", "\0": "\\x00", "n" * 5000: "n" * 120 + "…", "": "", "\U0001f40d": "\U0001f40d"}
    namespace.update(dict.fromkeys(names, 1))
    namespace["_private"] = namespace["json"] = json
    hidden["exit"] = namespace["exit"] = object()
    total, got = listed()
    assert total == len(names) and set(got) == set(names.values()), got


def test_bounds():
    namespace.clear()
    namespace.update((f"v{i}", [i]) for i in range(100_000))
    total, got = listed()
    assert total == 100_000 and len(got) <= variables.LIMIT and list(got)[:2] == ["v0", "v1"]
    namespace.clear()
    deep, around = [], []
    for _ in range(100_000):
        deep = [deep]
    around += [around, {"again": around}]
    namespace.update(
        deep=deep, around=around, wide=list(range(1_000_000)), many={i: [i] * 50 for i in range(100_000)}, text="é" * 10**7, raw=b"\0" * 10**7,
        number=1 << 10**6, span=range(1 << 10**6), line="a\u202eb\nc",
    )
    total, got = listed()
    assert set(got) == set(namespace)
    for v in got.values():
        assert len(v["value"]) <= 2 * probe.TEXT + 1, v
    assert got["around"]["value"] == "[[…], {'again': […]}]", got["around"]
    assert got["around"]["size"] > 0 and "partial" not in got["around"]
    assert got["wide"]["shape"] == "(1000000)" and got["wide"]["size"] > 8_000_000 and got["wide"]["partial"]
    assert got["number"]["value"] == "integer of 1000001 bits" and got["text"]["size"] > 10**7
    namespace.clear()
    namespace.update((f"{i:04}" + "\U0010ffff" * 500, ["\U0010ffff" * 500]) for i in range(variables.LIMIT))
    assert len(variables.listing()) < 1 << 20


def test_values():
    namespace.clear()
    namespace.update(
        a=1, f=1.5, t=True, n=None, s="it's", b=b"\0", l=[1, [2, [3, [4]]]], e=set(), one=(1,), d={"k": [1], 2: {}}, r=range(3), at=datetime.datetime(2026, 1, 2),
        c=collections.Counter("aab"), q=collections.deque([1]), z=datetime.timedelta(days=1), x=[1] * 10,
    )
    _, got = listed()
    want = {
        "a": "1", "f": "1.5", "t": "True", "n": "None", "s": '"it\'s"', "b": "b'\\\\x00'", "l": "[1, [2, [3, […]]]]", "e": "set()", "one": "(1,)",
        "d": "{'k': [1], 2: {}}", "r": "range(0, 3)", "at": "2026-01-02T00:00:00", "c": "{'a': 2, 'b': 1}", "q": "[1]", "z": "1 day, 0:00:00", "x": "[1, 1, 1, 1, 1, 1, …]",
    }
    want["b"] = repr(b"\0")
    for name, text in want.items():
        assert got[name]["value"] == text, (name, got[name]["value"], text)
        assert got[name]["size"] > 0 and "partial" not in got[name], got[name]


class Ended:
    threads = set()

    def __del__(self):
        self.threads.add(threading.get_ident())


def test_finalizers_stay_with_the_main_thread():
    """What a cell gives up while it is looked at ends in the main thread all the same."""
    namespace.clear()
    stop, asked = threading.Event(), threading.Event()

    def ask():
        while not stop.is_set():
            try:
                variables.listing()
            except RuntimeError as e:
                touched.append(str(e))
            asked.set()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=ask)
    thread.start()
    asked.wait()
    for i in range(30_000):
        namespace["x"] = Ended()
        namespace["y"] = [Ended(), {1: Ended()}]
        del namespace["x"]
        probe.let_go()
    stop.set()
    thread.join()
    sys.setswitchinterval(before)
    namespace.clear()
    probe.let_go()
    assert Ended.threads == {threading.get_ident()}, "a finalizer ran in the thread that lists"
    assert not touched, touched


def test_nothing_is_held():
    class Thing:
        pass

    namespace.clear()
    thing = namespace["thing"] = Thing()
    namespace["in_list"] = [thing]
    gone = weakref.ref(thing)
    variables.listing()
    del thing
    namespace.clear()
    assert gone() is None


for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()
        print("ok", name)
