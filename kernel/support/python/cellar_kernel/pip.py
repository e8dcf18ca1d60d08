"""Progress of pip's downloads. pip draws its bar on a terminal only; through a
pipe it says nothing until a download is over, which may be minutes. Asked to,
it prints ``Progress 1024 of 4096`` instead, a few times a second; that is made a
bar here, in one line of the output."""

import importlib.metadata
import os
import re
import shlex
import shutil
import sys
import time

WIDTH = 30
_RAW = re.compile(r"Progress (\d+) of (\d+)\r?\n?")
_PIP = re.compile(r"pip3?(\.\d+)?$")


def is_pip(command):
    """Whether a shell command is an installer's that can be asked for it."""
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    if not words or any(w in (";", "&&", "||", "|", "&") for w in words):
        return False
    if len(words) > 2 and words[1:3] == ["-m", "pip"]:
        return _is_ours(shutil.which(words[0])) and _knows_raw()
    program = shutil.which(words[0])
    return bool(_PIP.match(os.path.basename(words[0])) and program and _is_ours(_interpreter(program)) and _knows_raw())


def _interpreter(program):
    try:
        with open(program, "rb") as f:
            line = f.readline(300)
    except OSError:
        return None
    return line[2:].strip().split(b" ")[0].decode(errors="replace") if line.startswith(b"#!") else None


def _is_ours(python):
    return bool(python) and os.path.realpath(python) == os.path.realpath(sys.executable)


def _knows_raw():
    """pip 24.1 and later; an older one would refuse to run."""
    try:
        version = importlib.metadata.version("pip").split(".")
        return (int(version[0]), int(version[1])) >= (24, 1)
    except (importlib.metadata.PackageNotFoundError, ValueError, IndexError):
        return False


class Progress:
    """Turns what pip prints into what is shown, piece by piece."""

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._rest = ""
        self._drawn = 0  # characters of the bar in the present line
        self._began = self._from = None

    def feed(self, text, end=False):
        out = []
        lines = (self._rest + text).splitlines(keepends=True)
        self._rest = ""
        if lines and not lines[-1].endswith("\n") and not end and "Progress "[: len(lines[-1])] == lines[-1][:9]:
            self._rest = lines.pop()
        for line in lines:
            match = _RAW.fullmatch(line)
            out.append(self._bar(int(match[1]), int(match[2])) if match else self._close() + line)
        if end:
            out.append(self._close())
        return "".join(out)

    def _bar(self, done, total):
        now = self._clock()
        if self._began is None:
            self._began, self._from = now, done
        speed = (done - self._from) / (now - self._began) if now > self._began else 0
        full = round(WIDTH * min(done / total, 1)) if total else 0
        text = f"  {'━' * full}{'╌' * (WIDTH - full)} " if total else "  "
        text += f"{_mb(done)}/{_mb(total)} MB" if total else f"{_mb(done)} MB"
        if speed > 0:
            text += f", {_mb(speed)} MB/s"
            if total > done:
                text += f", {_left((total - done) / speed)} left"
        padded = text.ljust(self._drawn)
        self._drawn = len(text)
        return "\r" + padded

    def _close(self):
        """Ends the bar's line, if there is one."""
        if not self._drawn:
            return ""
        self._drawn, self._began = 0, None
        return "\n"


def _mb(n):
    return f"{n / 1e6:.1f}"


def _left(seconds):
    minutes, seconds = divmod(int(seconds) + 1, 60)
    return f"{minutes}:{seconds:02}"
