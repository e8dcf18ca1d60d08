"""Describes one value: type, shape, size, and a short text of it (see probe for
how it is looked at)."""

import collections
import datetime
import itertools
import sys
from builtins import bool, bytearray, bytes, complex, dict, float, frozenset, id, int, len, list, max, range, repr, set, slice, str, tuple, type, zip

from . import libraries
from .probe import TEXT, hold, is_one, mro_of, name, printable

_ITEMS = 6  # of a container
_DEPTH = 3  # of containers in containers
_COUNTED = 2000  # objects whose sizes are added up
_BITS = 400  # of an integer that is shown

_join, _isprintable = str.join, str.isprintable
_dict_items, _dict_len, _dict_sizeof, _getsizeof, _islice = dict.items, dict.__len__, dict.__sizeof__, sys.getsizeof, itertools.islice
_date_text, _moment_text, _zone_of = datetime.date.isoformat, datetime.datetime.isoformat, datetime.datetime.tzinfo.__get__
_date, _moment, _span_of_time, _zone = datetime.date, datetime.datetime, datetime.timedelta, datetime.timezone

_NUMBERS = (int, float, complex, bool, type(None), type(...))
_TEXTS = (str, bytes, bytearray)
_DICTS = (dict, collections.OrderedDict, collections.defaultdict, collections.Counter)
_LISTS = (list, tuple, set, frozenset, collections.deque)
_MARKS = ("[]", "()", "{}", "{}", "[]")
_BASES = tuple((base, base.__len__) for base in (dict, list, tuple, set, frozenset, str, bytes, bytearray, collections.deque))


class Glance:
    """shape and text may be empty; size is in bytes, whole says whether it is all."""

    __slots__ = ("kind", "shape", "size", "whole", "text")

    def __init__(self, value):
        kind = type(value)
        self.kind, self.shape, self.size, self.whole, self.text = name(kind), "", 0, False, ""
        if not self._builtin(value, kind) and not self._of_library(value, kind):
            self._derived(value, kind)
        self.text = printable(self.text)

    def _builtin(self, value, kind):
        if is_one(kind, _DICTS) or is_one(kind, _LISTS):
            self.shape = f"({_length(value, kind)})"
            self.size, self.whole = size(value)
        elif is_one(kind, _NUMBERS) or is_one(kind, _TEXTS) or kind is range or is_one(kind, (_moment, _date, _span_of_time)):
            self.size, self.whole = _getsizeof(value), True
            if kind is range and not _long(value.start, value.stop, value.step):
                self.shape = f"({libraries.range_length(value)})"
        else:
            return False
        self.text = preview(value)
        return True

    def _of_library(self, value, kind):
        number = libraries.scalar(value, kind)
        if number is not None:
            self.size, self.whole, self.text = _getsizeof(value), True, preview(hold([number[0]])[0], 1)
            return True
        facts = libraries.facts(value, kind)
        if facts is None:
            return False
        self.shape = "" if facts.shape is None else libraries.shape_text(facts.shape)
        self.size, self.whole, self.text = facts.size, facts.whole, facts.what
        if facts.items is not None:
            parts = [preview(item, 1) for item in hold(facts.items)]
            self.text += " [" + _join(", ", parts + ["…"] * (facts.count > len(parts))) + "]"
        return True

    def _derived(self, value, kind):
        """A class of the person's that is a list, a dict ... too: how much is in it,
        whatever it says itself."""
        for each in mro_of(kind):
            for base, length in _BASES:
                if each is base:
                    self.shape = f"({length(value)})"
                    return


def _length(value, kind):
    return _dict_len(value) if is_one(kind, _DICTS) else len(value)


def preview(value, depth=_DEPTH, path=()):
    """A short text of a value, and of the type alone where no more is safe to say."""
    kind = type(value)
    if kind is int and _long(value):
        return f"integer of {value.bit_length()} bits"
    if is_one(kind, _NUMBERS):
        return repr(value)
    if is_one(kind, _TEXTS):
        return repr(value) if len(value) <= TEXT else repr(value[: TEXT - 40])[:-1] + "…"
    if kind is range:
        return "range(…)" if _long(value.start, value.stop, value.step) else repr(value)
    if kind is slice:
        return f"slice({_join(', ', [preview(end, 0) for end in hold([value.start, value.stop, value.step])])})"
    if is_one(kind, _DICTS) or is_one(kind, _LISTS):
        return _container(value, kind, depth, path)
    text = _time(value, kind)
    if text is None:
        number = libraries.scalar(value, kind)
        text = f"<{name(kind)}>" if number is None else preview(number[0], 1)
    return text


def _long(*numbers):
    for number in numbers:
        if number.bit_length() > _BITS:
            return True
    return False


def _time(value, kind):
    if kind is _moment:
        zone = _zone_of(value)  # one of the person's is asked for its offset
        return _moment_text(value) if zone is None or type(zone) is _zone else None
    if kind is _date:
        return _date_text(value)
    return str(value) if kind is _span_of_time else None


def _container(value, kind, depth, path):
    marks = "{}"
    for each, own in zip(_LISTS, _MARKS):
        marks = own if kind is each else marks
    count = _length(value, kind)
    if count == 0:
        return f"{name(kind)}()" if kind is set or kind is frozenset else marks
    if depth == 0 or is_one(value, path):
        return f"{marks[0]}…{marks[1]}"
    path += (value,)
    parts, length = [], 0
    for item in _first(value, kind, _ITEMS):
        parts.append(preview(item, depth - 1, path))
        length += len(parts[-1])
        if length > 2 * TEXT:
            break
    if is_one(kind, _DICTS):
        parts = [f"{key}: {held}" for key, held in zip(parts[::2], parts[1::2])]
    if count > len(parts):
        parts.append("…")
    elif kind is tuple and count == 1:
        parts[0] += ","
    return marks[0] + _join(", ", parts) + marks[1]



def size(value):
    """Bytes of memory, and whether that is all of it: those of what is in a
    container too, where it can be told. Each object counts once."""
    total, whole, seen, todo = 0, True, set(), [value]
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        kind = type(item)
        if is_one(kind, _NUMBERS) or is_one(kind, _TEXTS):
            total += _getsizeof(item)
        elif is_one(kind, _DICTS) or is_one(kind, _LISTS):
            inside, all_ = _inside(item, kind, _COUNTED - len(seen) - len(todo))
            total += _dict_sizeof(item) if is_one(kind, _DICTS) else _getsizeof(item)
            whole = whole and all_
            todo += inside
        else:
            array = libraries.array_size(item, kind)
            total += array[0] if array is not None else 0
            whole = whole and array is not None and array[1]
    return total, whole


def _inside(container, kind, room):
    """At most so many of what is in a container, and whether that is all."""
    count = max(room // 2 if is_one(kind, _DICTS) else room, 0)
    return _first(container, kind, count), _length(container, kind) <= count


def _first(container, kind, count):
    """The first of what is in a container; of a dict, keys and values in turn."""
    if is_one(kind, _DICTS):
        return hold([each for pair in _islice(_dict_items(container), count) for each in pair])
    return hold([*_islice(container, count)])

