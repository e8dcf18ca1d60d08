"""Lists the variables of a session without running any code of the person's.

It runs in a thread of its own that is there from the kernel's start (see hooks),
also while a cell runs. It stays short: so many variables, so many bytes, and so
much time.
"""

import time
from builtins import dict, enumerate, id, len, list, object, repr, str, type
from json.encoder import encode_basestring_ascii as _quoted
from types import ModuleType as _Module

from .glance import Glance
from .probe import hold, let_go, name as type_name, printable, release

LIMIT = 2000  # variables
_BYTES = 768 << 10  # of the answer
_SECONDS = 0.5

_clock = time.monotonic
_items, _copy, _get = dict.items, dict.copy, dict.get
_MISSING = object()
_namespace = _hidden = None


def attach(shell):
    """Remembers the namespace itself: a shell's attributes can be changed."""
    global _namespace, _hidden
    _namespace, _hidden = shell.user_ns, shell.user_ns_hidden
    shell.events.register("post_execute", let_go)


def listing(limit=LIMIT):
    """The answer as JSON: {"total":n,"items":[...]}, the oldest names first."""
    if type(_namespace) is not dict or type(_hidden) is not dict:
        return '{"total":0,"items":[],"none":true}'
    until = _clock() + _SECONDS
    own = {name: id(value) for name, value in _items(_copy(_hidden)) if type(name) is str}
    parts, length, total = [], 0, 0
    names, values = _names()
    for i, name in enumerate(names):
        value = _get(_namespace, name, _MISSING) if values is None else values[i]
        if type(name) is not str or name[:1] == "_" or type(value) is _Module or value is _MISSING or own.get(name) == id(value):
            value = None
            continue
        hold([value])
        total += 1
        if len(parts) < limit and length < _BYTES and _clock() < until:
            parts.append(_entry(name, value))
            length += len(parts[-1])
        value = None
        release()
    return f'{{"total":{total},"items":[{",".join(parts)}]}}'


def _names():
    """All names, to be looked up one by one; and all values, where a key is no
    string: it may lie about being equal, so nothing is looked up beside it."""
    names = list(_namespace)
    for name in names:
        if type(name) is not str:
            pairs = list(_items(_namespace))
            return [pair[0] for pair in pairs], hold([pair[1] for pair in pairs])
    return names, None


def _entry(name, value):
    try:
        g = Glance(value)
    except Exception:  # it changed while it was looked at
        return f'{{"name":{_quoted(printable(name))},"type":{_quoted(type_name(type(value)))},"size":0,"partial":true}}'
    text = f'{{"name":{_quoted(printable(name))},"type":{_quoted(g.kind)},"size":{repr(g.size)}'
    if not g.whole:
        text += ',"partial":true'
    if g.shape:
        text += f',"shape":{_quoted(g.shape)}'
    if g.text:
        text += f',"value":{_quoted(g.text)}'
    return text + "}"
