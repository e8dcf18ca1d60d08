"""A cell's first line may choose where and how it runs: ``#!c1.2`` gives it a
configuration of its own, ``#!:bash`` another language, ``#!c1.2:bash`` both.

The configuration is asked for before the cell runs, and given back when it has
ended. What runs here waits for the first; a cell behind it waits for the second,
for a few seconds at most, so that it does not begin on what is being taken away.
"""

import ast
import re
import sys

from IPython.core.error import InputRejected

from . import hooks

_LINE = re.compile(r"\s*#!([A-Za-z0-9][A-Za-z0-9._-]{0,31})?(?::([A-Za-z]\w{0,31}))?[ \t\r]*(?:\n|\Z)")
# Who copies a script into a cell means nothing by its first line.
_PROGRAMS = {"bash", "env", "node", "perl", "php", "python", "python2", "python3", "R", "Rscript", "ruby", "sh", "zsh"}
_SETTLE = 5  # seconds


def first_line(cell):
    """What a cell asks for: (configuration, language), each may be None."""
    match = _LINE.match(cell)
    if not match or match[1] in _PROGRAMS:
        return None, None
    return match[1], match[2]


def attach(shell):
    Lines(shell)


class ConfigurationError(InputRejected):
    def _render_traceback_(self):
        return [f"{type(self).__name__}: {self}"]


class Lines:
    def __init__(self, shell):
        self._shell = shell
        self._cell = None  # the msg_id of the request that runs
        self._depth = 0  # a cell may run cells
        self._refused = None
        self._lent = False
        shell.input_transformers_cleanup.append(_language)
        shell.ast_transformers.append(_Gate(self))
        shell.events.register("pre_run_cell", self.before)
        shell.events.register("post_run_cell", self.after)

    def before(self, info):
        cell = self._request()
        if cell == self._cell and self._depth > 0:
            self._depth += 1
            return
        self._cell, self._depth, self._refused = cell, 1, None
        try:
            name, _ = first_line(info.raw_cell)
            if name:
                self._lent = True
                self._refused = hooks.want(name)
            elif self._lent:
                self._settle()
        except KeyboardInterrupt:
            self._refused = "Interrupted while the cell waited for its configuration."

    def after(self, result):
        if not (result.info.raw_cell or "").strip():
            return  # IPython does not begin such a cell
        self._depth = max(0, self._depth - 1)
        if self._depth == 0 and self._lent:
            hooks.want("", wait=False)

    def _settle(self):
        refused = hooks.settled(_SETTLE)
        if refused is None:
            self._lent = False
        elif refused:
            print(f"This kernel stays on the configuration of a cell before: {refused}", file=sys.stderr)

    def _request(self):
        try:
            return self._shell.kernel.get_parent("shell")["header"]["msg_id"]
        except Exception:
            return None

    def check(self):
        if self._refused:
            raise ConfigurationError(self._refused)


class _Gate(ast.NodeTransformer):
    """Refuses a cell that did not get its configuration; IPython asks before it
    runs one."""

    def __init__(self, lines):
        self._lines = lines

    def visit(self, node):
        self._lines.check()
        return node


def _language(lines):
    """``#!:bash`` is ``%%bash``."""
    _, language = first_line("".join(lines[:1]))
    if not language or language.lower() == "python":
        return lines
    return [f"%%{language.lower()}\n", *lines[1:]]
