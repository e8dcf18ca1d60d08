"""What a cell takes and gives: found from its source and the last values."""

import ast
import builtins
import json
import types

_SIMPLE = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array", tuple: "array"}


def json_type(value):
    """JSON Schema's name for the type a value has as JSON; None if it has none."""
    for kind, name in _SIMPLE.items():
        if type(value) is kind:
            return name
    kind = type(value)
    module = (kind.__module__ or "").partition(".")[0]
    if module == "numpy":
        if kind.__name__ == "ndarray":
            return "array"
        if hasattr(value, "item"):
            return json_type(value.item())
    if module == "pandas":
        return {"DataFrame": "array", "Series": "array", "Index": "array", "Timestamp": "string"}.get(kind.__name__)
    if module == "datetime" or kind in (bytes, bytearray):
        return "string"
    return None


def to_json(value, depth=0):
    """A value as plain JSON: arrays as lists, a data frame as a list of records,
    dates in ISO form, bytes in base64."""
    if depth > 64:
        raise ValueError("the value is nested deeper than 64 levels")
    if value is None or isinstance(value, (bool, str)):
        return value
    kind = type(value)
    module = (kind.__module__ or "").partition(".")[0]
    if module == "numpy":
        return to_json(value.tolist(), depth + 1)
    if module == "pandas":
        if kind.__name__ == "DataFrame":
            return to_json(value.to_dict("records"), depth + 1)
        if kind.__name__ in ("Series", "Index"):
            return to_json(value.tolist(), depth + 1)
        if hasattr(value, "isoformat"):
            return value.isoformat()
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, dict):
        return {str(k): to_json(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(v, depth + 1) for v in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        import base64

        return base64.b64encode(bytes(value)).decode("ascii")
    raise TypeError(f"a {kind.__name__} has no JSON form")


class _Names(ast.NodeVisitor):
    """Names the cell reads before it has set them, and the names it sets, both
    in order, at the top level of the cell and inside its functions."""

    def __init__(self):
        self.read, self.set = {}, {}

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Load):
            if node.id not in self.set:
                self.read.setdefault(node.id)
        elif isinstance(node.ctx, ast.Store):
            self.set.setdefault(node.id)

    def visit_Assign(self, node):
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)

    def visit_AugAssign(self, node):
        self.visit(node.value)
        if isinstance(node.target, ast.Name) and node.target.id not in self.set:
            self.read.setdefault(node.target.id)
        self.visit(node.target)

    def visit_AnnAssign(self, node):
        if node.value:
            self.visit(node.value)
        self.visit(node.target)

    def visit_For(self, node):
        self.visit(node.iter)
        self.visit(node.target)
        for part in node.body + node.orelse:
            self.visit(part)

    def _comprehension(self, node):
        inner = _Names()
        inner.set = dict(self.set)
        for generator in node.generators:
            inner.visit(generator.iter)
            inner.visit(generator.target)
            for condition in generator.ifs:
                inner.visit(condition)
        for field in ("elt", "key", "value"):
            if hasattr(node, field):
                inner.visit(getattr(node, field))
        for name in inner.read:
            self.read.setdefault(name)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def visit_FunctionDef(self, node):
        self.set.setdefault(node.name)
        inner = _Names()
        arguments = node.args
        for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs + [arguments.vararg, arguments.kwarg]:
            if a:
                inner.set[a.arg] = None
        for part in node.body:
            inner.visit(part)
        for name in inner.read:
            if name not in self.set:
                self.read.setdefault(name)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node):
        inner = _Names()
        for a in node.args.posonlyargs + node.args.args + node.args.kwonlyargs:
            inner.set[a.arg] = None
        inner.visit(node.body)
        for name in inner.read:
            if name not in self.set:
                self.read.setdefault(name)

    def visit_Import(self, node):
        for alias in node.names:
            self.set.setdefault((alias.asname or alias.name).partition(".")[0])

    visit_ImportFrom = visit_Import


def _example(value):
    try:
        text = json.dumps(to_json(value))
    except Exception:
        return None
    return json.loads(text) if len(text) <= 20000 else None


def _is_data(value):
    return not isinstance(value, (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)) and not callable(value)


def describe(shell, source):
    """Inputs: plain data the cell reads. Outputs: plain data it sets. A value
    without a JSON form (a model, a file) belongs to the state and is neither."""
    names = _Names()
    names.visit(ast.parse(shell.transform_cell(source)))
    result = {"inputs": [], "outputs": [], "warnings": []}
    for name in names.read:
        if name.startswith("_") or (hasattr(builtins, name) and name not in shell.user_ns):
            continue
        if name not in shell.user_ns:
            result["inputs"].append({"name": name, "type": "string", "example": None})
            result["warnings"].append(f"{name} has no value yet: run the cell once to find its type")
            continue
        value = shell.user_ns[name]
        kind = json_type(value) if _is_data(value) else None
        if kind:
            result["inputs"].append({"name": name, "type": kind, "example": _example(value)})
    for name in names.set:
        if name.startswith("_") or name not in shell.user_ns:
            continue
        value = shell.user_ns[name]
        kind = json_type(value) if _is_data(value) else None
        if kind:
            result["outputs"].append({"name": name, "type": kind, "example": _example(value)})
    taken = {o["name"] for o in result["outputs"]}
    result["inputs"] = [i for i in result["inputs"] if i["name"] not in taken or i["name"] in names.read]
    return result
