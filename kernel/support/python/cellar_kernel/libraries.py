"""What NumPy, pandas and torch say of their objects, by C alone (see probe)."""

import itertools
from builtins import bytearray, bytes, int, len, list, max, min, range, repr, str, tuple, type

from .probe import call, entry, field, is_one, module, module_of, mro_of, name_of, of, printable, read, sealed

_ITEMS = 6  # shown of an array
_HOPS = 16  # from a view of memory to its owner
_BLOCKS = 1000  # of a frame, looked at
_islice, _repeat = itertools.islice, itertools.repeat
_list_len, _list_get = list.__len__, list.__getitem__
_exact, _join = str.__str__, str.join
_NUMBERED = {"i": "int", "u": "uint", "f": "float", "c": "complex"}
_NAMED = {"b": "bool", "O": "object", "M": "datetime64", "m": "timedelta64", "S": "bytes", "U": "str", "V": "record"}


class Facts:
    """shape is None where there is none; items are the first of count values."""

    __slots__ = ("shape", "size", "whole", "what", "items", "count")

    def __init__(self, what="", shape=None, size=0, whole=False):
        self.what, self.shape, self.size, self.whole = what, shape, size, whole
        self.items, self.count = None, 0


def facts(value, kind):
    """What is known of a value of one of these libraries, None of any other."""
    return _array(value, kind) or _tensor(value, kind) or _table(value, kind)


def shape_text(shape):
    return "(" + _join(", ", [repr(n) for n in _islice(shape, 32)]) + ("," if len(shape) == 1 else "") + ")"



def scalar(value, kind):
    """(number,) of a scalar of NumPy's own, None of anything else: what a person
    derives from them is not asked, and long double has itself as its number."""
    if not sealed(kind):
        return None
    owner = of(kind, "numpy", "generic")
    if owner is None:
        return None
    item = call(value, owner, "item")
    return None if of(type(item), "numpy", "generic") is not None else (item,)


# NumPy.


def _array(value, kind):
    owner = of(kind, "numpy", "ndarray")
    if owner is None:
        return None
    what = _dtype(value, owner)
    f = Facts(what, read(value, owner, "shape"), read(value, owner, "nbytes"), what != "object")
    if kind is owner:
        _elements(f, value, owner, _ITEMS)
    return f


def array_size(value, kind):
    """(bytes, whether that is all) of an array, None of anything else."""
    owner = of(kind, "numpy", "ndarray")
    return None if owner is None else (read(value, owner, "nbytes"), _dtype(value, owner) != "object")


def _dtype(value, owner):
    dtype = read(value, owner, "dtype")
    base = of(type(dtype), "numpy", "dtype")
    if base is None:
        return ""
    letter, width = read(dtype, base, "kind"), read(dtype, base, "itemsize")
    if letter in _NUMBERED:
        return f"{_NUMBERED[letter]}{8 * width}"
    return _NAMED[letter] if letter in _NAMED else "dtype " + printable(letter, 4)


def _elements(f, value, owner, count):
    if _own_memory(value, owner):
        f.count = read(value, owner, "size")
        f.items = [call(value, owner, "item", i) for i in range(min(f.count, count))]


def _own_memory(value, owner):
    """Whether NumPy itself has the memory. What is mapped from a file that somebody
    may have cut is not read: that would end the process."""
    for _ in _repeat(None, _HOPS):
        base = read(value, owner, "base")
        if base is None or type(base) is bytes or type(base) is bytearray:
            return True
        if type(base) is not owner:
            return False
        value = base
    return False


# torch.


def _tensor(value, kind):
    owner = of(kind, "torch._C", "TensorBase", "_TensorBase")
    if owner is None:
        return None
    f = Facts()
    guard = entry(module("torch._C"), "DisableTorchFunction")
    if type(guard) is not type or not sealed(guard):
        return f
    with guard():  # else a subclass is asked for every attribute
        f.shape = read(value, owner, "shape")
        dtype, device = read(value, owner, "dtype"), read(value, owner, "device")
        try:
            size = read(value, owner, "nbytes")
        except Exception:  # a sparse one has no such thing
            size = None
    f.what = _join(" on ", [str(each) for each in (dtype, device) if _of_torch(each)])
    if type(size) is int and f.what[-4:] != "meta":  # which has no memory
        f.size, f.whole = size, True
    return f


def _of_torch(value):
    return sealed(type(value)) and of(type(value), "torch", "dtype", "device") is not None


# pandas: written in Python, so what counts is what the managers below hold.

_TABLES = {"DataFrame": "pandas.core.frame", "Series": "pandas.core.series"}


def _table(value, kind):
    origin, called = module_of(kind), _exact(name_of(kind))
    if type(origin) is not str or called not in _TABLES or _TABLES[called] != origin:
        return None
    f = Facts()
    manager = field(value, "_mgr")
    axes, blocks = _held(manager, "axes"), _held(manager, "blocks")
    if type(axes) is not list or type(blocks) is not tuple:
        return f
    lengths = [_index_length(axis) for axis in _islice(axes, 2)]
    if None not in lengths:
        f.shape = tuple(lengths[::-1])
    _add_blocks(f, blocks)
    _add_items(f, axes, blocks)
    return f


def _add_items(f, axes, blocks):
    one = _list_len(axes) == 1
    values = (_values(blocks[0]) if blocks else None) if one else field(axes[0], "_data")
    owner = of(type(values), "numpy", "ndarray")
    if owner is None or type(values) is not owner:
        f.what = "" if one else "columns"
        return
    f.what = _dtype(values, owner) if one else "columns"
    _elements(f, values, owner, _ITEMS if one else 2 * _ITEMS)


def _add_blocks(f, blocks):
    f.whole = len(blocks) <= _BLOCKS
    for block in _islice(blocks, _BLOCKS):
        values = _values(block)
        plain = of(type(values), "numpy", "ndarray") is not None
        size = array_size(*_typed(values if plain else _inner(values)))
        if size is not None:
            f.size += size[0]
        f.whole = f.whole and plain and size is not None and size[1]


def _typed(value):
    return value, type(value)


def _held(manager, attribute):
    owner = of(type(manager), "pandas._libs.internals", "BlockManager")
    return field(manager, attribute) if owner is None else read(manager, owner, attribute)


def _values(block):
    owner = of(type(block), "pandas._libs.internals", "Block", "SharedBlock", "NumpyBlock")
    return None if owner is None else read(block, owner, "values")


def _inner(data):
    """The array in one of pandas' own kind."""
    owner = of(type(data), "pandas._libs.arrays", "NDArrayBacked")
    return field(data, "_data") if owner is None else read(data, owner, "_ndarray")


def _index_length(index):
    span = field(index, "_range")
    if type(span) is range:
        return range_length(span)
    codes = field(index, "_codes")  # of an index with several levels
    if codes is not None and is_one(list, mro_of(type(codes))) and _list_len(codes):
        return _length(_list_get(codes, 0))
    return _length(field(index, "_data"))


def _length(data):
    for _ in _repeat(None, 3):
        owner = of(type(data), "numpy", "ndarray")
        if owner is not None:
            shape = read(data, owner, "shape")
            return shape[-1] if shape else None
        data = _inner(data)
    return None


def range_length(span):
    """len() fails for those that do not fit a machine's word."""
    step = span.step
    return max((span.stop - span.start + step - (1 if step > 0 else -1)) // step, 0)
