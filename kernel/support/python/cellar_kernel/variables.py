"""Lists the variables of a session without running any of the person's code:
only exact built-in types are shown by value; of other objects the type is told."""

import types

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_SIZED = (list, tuple, dict, set, frozenset)


def listing(shell, limit=2000):
    hidden = shell.user_ns_hidden
    out = []
    for name, value in list(shell.user_ns.items()):
        if name.startswith("_") or (name in hidden and hidden[name] is value):
            continue
        if isinstance(value, types.ModuleType):
            continue
        out.append(_describe(name, value))
        if len(out) == limit:
            break
    return sorted(out, key=lambda v: v["name"])


def _describe(name, value):
    kind = type(value)
    entry = {"name": name, "type": kind.__name__, "size": 0}
    if kind in _PLAIN:
        text = repr(value) if kind is not str or len(value) <= 200 else repr(value[:80])[:-1] + "..."
        entry["value"] = text[:100]
    elif kind in _SIZED:
        entry["shape"] = f"({len(value)})"
    else:
        module = (kind.__module__ or "").partition(".")[0]
        if module in ("numpy", "pandas", "torch"):
            try:
                entry["shape"] = str(tuple(value.shape)) if hasattr(value, "shape") else ""
                entry["size"] = int(getattr(value, "nbytes", 0)) if module == "numpy" else 0
            except Exception:
                pass
    return entry
