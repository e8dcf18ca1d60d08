"""Keeps variables one by one, for where the process itself cannot go: another
kind of processor, an image with other libraries.

Unlike variables and hooks this runs the person's own code, because how a value is
taken apart and put together again is its class's business. So it happens only
when it was asked for, in the main thread and between cells. What cannot be kept
is named, with the reason; nothing fails as a whole.

Variables that share an object are kept together, so that they share it again.
Functions and classes of the notebook are kept by value where cloudpickle is
there, and go on to use the notebook's variables by name, as before.

The file: a line, then for each group its header (4 bytes of length, big-endian,
and JSON: names, size, buffers), the pickle, and its buffers as they are.
"""

import importlib
import io
import json
import os
import pickle
import re
import struct
import sys
import time
import types

try:
    import cloudpickle
except ImportError:
    cloudpickle = None

MAGIC = b"cellar portable 1\n"
_OWN = re.compile(r"_+|_i+|_i?\d+|_(oh|ih|dh|iii|exit_code)|In|Out|exit|quit|get_ipython|open|__\w+__")
_NAMES, _TEXT = 5000, 300  # of a report; characters of a reason
_BARE = (int, float, complex, bool, str, bytes, type(None), types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type, tuple, frozenset, range)

_shell = None
_excluded = set()


def attach(shell):
    global _shell
    _shell = shell
    shell.register_magic_function(_exclude, "line", "state_exclude")
    shell.register_magic_function(_include, "line", "state_include")


def _exclude(line):
    """%state_exclude NAME ...: variables that are left out when variables are kept
    one by one; without a name, lists them. A checkpoint of the whole kernel holds
    every variable all the same."""
    _excluded.update(line.replace(",", " ").split())
    print("left out when variables are kept one by one:", ", ".join(sorted(_excluded)) or "none")


def _include(line):
    """%state_include NAME ...: takes %state_exclude back; without a name, for all."""
    names = line.replace(",", " ").split()
    _excluded.difference_update(names or set(_excluded))
    _exclude("")


def _namespace():
    return _shell.user_ns


class _Reference:
    """Stands for the notebook's namespace, of which each kernel has its own."""

    def __reduce__(self):
        return _namespace, ()


class _Count:
    """A file that only counts, up to a limit."""

    def __init__(self, limit, until):
        self.size, self.limit, self.until = 0, limit, until

    def write(self, data):
        self.add(memoryview(data).nbytes)

    def add(self, size):
        self.size += size
        if self.size > self.limit:
            raise ValueError(f"it is larger than the {self.limit >> 20} MiB there is room for")
        if time.monotonic() > self.until:
            raise TimeoutError("it takes too long")


def _pickler(file, buffers):
    take = lambda b: buffers(b.raw())  # None: it is taken
    if cloudpickle is None:
        return _Plain(file, protocol=5, buffer_callback=take)
    p = _Whole(file, protocol=5, buffer_callback=take)
    p.globals_ref[id(_namespace())] = _Reference()
    return p


if cloudpickle is not None:

    class _Whole(cloudpickle.Pickler):
        def reducer_override(self, value):
            if issubclass(type(value), io.IOBase) and not issubclass(type(value), (io.StringIO, io.BytesIO)):
                raise pickle.PicklingError("an open file is kept with the whole kernel only")  # else it would become a text
            return super().reducer_override(value)

        def _dynamic_function_reduce(self, func):
            reduced = super()._dynamic_function_reduce(func)
            if func.__globals__ is _namespace():
                reduced[2][1]["__globals__"] = {}  # they are variables, each kept for itself
            return reduced


class _Plain(pickle.Pickler):
    def reducer_override(self, value):
        if issubclass(type(value), (type, types.FunctionType)) and value.__module__ == "__main__":
            raise pickle.PicklingError("it is defined in the notebook, and this image has no cloudpickle to keep that")
        return NotImplemented


def _reason(error):
    try:
        text = str(error)
    except BaseException:
        text = ""
    return f"{type(error).__name__}: {text}"[:_TEXT] if text else type(error).__name__


def _kind(value):
    kind = type(value)
    name = getattr(kind, "__qualname__", "?")
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"


def _mine(name):
    hidden = _shell.user_ns_hidden
    if type(name) is not str or not name.isidentifier() or _OWN.fullmatch(name):
        return False
    return not (name in hidden and hidden[name] is _namespace().get(name))


def _survey(value, room, until):
    """The size of a value, and the objects in it that another variable may share."""
    count = _Count(room, until)
    p = _pickler(count, lambda raw: count.add(raw.nbytes))
    p.dump(value)
    inside, each = [], None
    for _, each in p.memo.copy().values():
        # The memo's and the loop's references only: made for the pickle, and gone with it.
        if not issubclass(type(each), _BARE) and sys.getrefcount(each) > 3:
            inside.append(each)
    del each
    return count.size, inside


class _Groups:
    """Names in groups that share something."""

    def __init__(self):
        self.up, self.first, self.held = {}, {}, []

    def root(self, name):
        while self.up.setdefault(name, name) != name:
            name = self.up[name]
        return name

    def add(self, name, inside):
        self.root(name)
        self.held.append(inside)  # an ID says nothing of an object that is gone
        for each in inside:
            other = self.first.setdefault(id(each), name)
            if self.root(other) != self.root(name):
                self.up[self.root(name)] = self.root(other)

    def list(self):
        groups = {}
        for name in self.up:
            groups.setdefault(self.root(name), []).append(name)
        return list(groups.values())


def _versions(values):
    """The packages that values are made of, and their versions."""
    from importlib import metadata

    found = {}
    for top in {type(v).__module__.partition(".")[0] for v in values}:
        if top in sys.stdlib_module_names or top in ("__main__", "builtins") or top in found or len(found) > 200:
            continue
        try:
            found[top] = metadata.version({"sklearn": "scikit-learn", "PIL": "pillow", "cv2": "opencv-python"}.get(top, top))
        except Exception:
            version = getattr(sys.modules.get(top), "__version__", None)
            if isinstance(version, str):
                found[top] = version[:100]
    return found


def save(path, room, seconds):
    """Writes what can be kept to a new file, in at most so many bytes and seconds;
    returns the report as JSON in hexadecimal."""
    until = time.monotonic() + seconds
    namespace, groups = _namespace(), _Groups()
    kept, left, imports, values = {}, [], {}, []
    for name, value in list(namespace.items()):
        if not _mine(name):
            continue
        try:
            if issubclass(type(value), types.ModuleType):
                imports[name] = str(value.__name__)
                continue
            if name in _excluded:
                raise ValueError("you left it out with %state_exclude")
            if value is namespace:
                raise ValueError("it is the notebook's namespace itself")
            size, inside = _survey(value, room, until)
        except KeyboardInterrupt:  # the person wants it to end
            raise
        except BaseException as e:  # a class of theirs may raise SystemExit
            left.append({"name": name, "type": _kind(value), "reason": _reason(e)})
            continue
        room -= size
        kept[name] = {"name": name, "type": _kind(value), "size": size}
        values.append(value)
        groups.add(name, inside)
    with open(path, "xb") as file:
        file.write(MAGIC)
        for names in groups.list():
            try:
                _write(file, {name: namespace[name] for name in names}, until)
            except KeyboardInterrupt:
                raise
            except BaseException as e:
                for name in names:
                    kept.pop(name)
                    left.append({"name": name, "type": _kind(namespace.get(name)), "reason": _reason(e)})
        _header(file, {"imports": imports})
        file.flush()
        os.fsync(file.fileno())
    report = {
        "python": sys.version.split()[0],
        "packages": _versions(values),
        "kept": list(kept.values())[:_NAMES],
        "left": left[:_NAMES],
        "imports": len(imports),
    }
    return json.dumps(report).encode().hex()


def _header(file, header):
    header = json.dumps(header).encode()
    file.write(struct.pack(">I", len(header)) + header)


def _write(file, values, until):
    start = file.tell()
    try:
        body, buffers = io.BytesIO(), []
        _pickler(body, buffers.append).dump(values)
        _header(file, {"names": list(values), "size": body.tell(), "buffers": [b.nbytes for b in buffers]})
        file.write(body.getbuffer())
        for b in buffers:
            file.write(b)
            if time.monotonic() > until:
                raise TimeoutError("it takes too long")
    except BaseException:
        file.seek(start)
        file.truncate()
        raise


def _exactly(file, size):
    data = bytearray(size)
    if file.readinto(data) != size:
        raise EOFError("the file of the variables is not whole")
    return data


def load(path):
    """Puts what is in a file into the namespace; returns the report as JSON in
    hexadecimal."""
    namespace, came, failed = _namespace(), [], []
    with open(path, "rb") as file:
        if file.readline(64) != MAGIC:
            raise ValueError("this is no file of variables")
        total = os.fstat(file.fileno()).st_size
        while True:
            header = json.loads(_exactly(file, struct.unpack(">I", _exactly(file, 4))[0]))
            if "imports" in header:
                break
            sizes = [header["size"], *header["buffers"]]
            if file.tell() + sum(sizes) > total:
                raise EOFError("the file of the variables is not whole")
            body, *buffers = [_exactly(file, size) for size in sizes]
            try:
                values = pickle.loads(body, buffers=buffers)
            except KeyboardInterrupt:
                raise
            except BaseException as e:
                failed += [{"name": name, "type": "", "reason": _reason(e)} for name in header["names"]]
                continue
            for name, value in values.items():
                namespace[name] = value
                came.append(name)
    for name, module in header["imports"].items():
        try:
            namespace[name] = importlib.import_module(module)
        except Exception as e:
            failed.append({"name": name, "type": "module", "reason": _reason(e)})
    return json.dumps({"came": came[:_NAMES], "failed": failed[:_NAMES]}).encode().hex()


def versions():
    """What values are made of now, as JSON in hexadecimal."""
    report = {"python": sys.version.split()[0], "packages": _versions(list(_namespace().values()))}
    return json.dumps(report).encode().hex()
