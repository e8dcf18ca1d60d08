"""Looks at values without running any code of the person's.

A class of theirs decides what repr, len, ==, hash, isinstance and every dot do
with its instances, and its metaclass what they do with the class. So a value is
only asked

- for its type, by type(x), compared with `is`, never by == or as a key;
- by functions of C, taken from types that Python code can neither make nor
  change ("sealed"), and of instances of just these types.

Names of builtins are bound here as well: a cell may put others in their place.
Where this runs beside a cell, a value may be given up by the cell meanwhile; what
is held last is kept until the main thread lets go of it, because a finalizer is
the person's code too, and may belong to that thread.
"""

import sys
import types
from builtins import bool, bytearray, bytes, complex, dict, float, int, len, list, object, repr, str, type

TEXT = 120  # characters of a name or a preview

name_of = type.__dict__["__name__"].__get__
module_of = type.__dict__["__module__"].__get__
mro_of = type.__dict__["__mro__"].__get__
_flags_of = type.__dict__["__flags__"].__get__
_entries_of = type.__dict__["__dict__"].__get__
_entries_copy = types.MappingProxyType.copy
_module_entries = types.ModuleType.__dict__["__dict__"].__get__
_exact, _join, _isprintable = str.__str__, str.join, str.isprintable
_items, _copy = dict.items, dict.copy
_modules, _refcount = sys.modules, sys.getrefcount
_Accessor, _Member, _Method = types.GetSetDescriptorType, types.MemberDescriptorType, types.MethodDescriptorType
_Module = types.ModuleType
_HEAP, _IMMUTABLE = 1 << 9, 1 << 8


def is_one(kind, kinds):
    for each in kinds:
        if kind is each:
            return True
    return False


def name(kind):
    """The name of a type, as its maker gave it."""
    return printable(_exact(name_of(kind)))


def printable(text, limit=TEXT):
    """Cut, and with an escape for what is not seen or would turn the line around."""
    cut = text[:limit]
    if not _isprintable(cut):
        cut = _join("", [c if _isprintable(c) else repr(c)[1:-1] for c in cut])[: 2 * limit]
    return cut if len(text) <= limit else cut + "…"


def sealed(kind):
    return _flags_of(kind) & (_HEAP | _IMMUTABLE) != _HEAP


def of(kind, module, *names):
    """The first sealed type of a module that kind is or descends from."""
    for each in mro_of(kind):
        if sealed(each) and _exact(name_of(each)) in names:
            origin = module_of(each)
            if type(origin) is str and origin == module:
                return each
    return None


def entry(entries, wanted):
    """A dict's value by linear search: a key that lies about being equal is not asked."""
    for key, value in _items(entries):
        if type(key) is str and key == wanted:
            return value
    return None


def read(value, owner, attribute):
    """An attribute that is C's own, of a sealed type."""
    accessor = entry(_entries_copy(_entries_of(owner)), attribute)
    return accessor.__get__(value) if type(accessor) is _Accessor or type(accessor) is _Member else None


def call(value, owner, method, *arguments):
    """What a method gives that is C's own, of a sealed type."""
    function = entry(_entries_copy(_entries_of(owner)), method)
    return function(value, *arguments) if type(function) is _Method else None


def field(value, attribute):
    """An instance's own attribute, whatever its class says of it."""
    for each in mro_of(type(value)):
        accessor = entry(_entries_copy(_entries_of(each)), "__dict__")
        if type(accessor) is _Accessor:
            fields = accessor.__get__(value)
            return entry(_copy(fields), attribute) if type(fields) is dict else None
    return None


def module(wanted):
    """What a module has, {} when it is not imported."""
    found = entry(_copy(_modules), wanted)
    return _module_entries(found) if type(found) is _Module else {}


# What is held, and by whom it is let go.

_held = []
_last = []


_BARE = (int, str, float, complex, bool, bytes, bytearray, type(None))  # nothing ends with them


def hold(values):
    """Takes a list of values; they stay until release()."""
    for value in values:
        if not is_one(type(value), _BARE):
            _held.append(value)
    return values


def _alone():
    held = [object()]
    value = held.pop()
    return _refcount(value)


_ALONE = _alone()


def release():
    """Gives up what was held. What nobody else has any more is left to let_go."""
    while _held:
        value = _held.pop()
        if _refcount(value) <= _ALONE:
            _last.append(value)


def let_go():
    """Called by the main thread, between cells."""
    while _last:
        _last.pop()
