"""Told before a checkpoint and after a restore, even in the middle of a cell.

A kernel that runs a cell takes no message, so a thread that is there from the
start waits on a pipe from the keeper. Hooks run in a second thread, one after the
other; the cell goes on meanwhile, as with any other thread. The first answers
questions itself: which variables there are, also while a hook hangs.
"""

import itertools
import json
import os
import queue
import sys
import threading
import traceback

from . import birth, variables

_lock = threading.Lock()
_saying = threading.Lock()
_todo = queue.SimpleQueue()
_hooks = {"before_checkpoint": [], "after_restore": []}
_out = None


def start():
    """Called once, before the kernel starts."""
    global _out
    try:
        told, said = (int(n) for n in os.environ.pop("CELLAR_HOOKS").split(","))
    except (KeyError, ValueError):
        return  # not started by a keeper
    for fd in (told, said):
        os.set_inheritable(fd, False)
    _out = os.fdopen(said, "w", buffering=1)
    _thread(_serve, "cellar-keeper", os.fdopen(told))
    _thread(_run_all, "cellar-hooks")
    _say(ready=True, answers=True)


def _thread(target, name, *args):
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread.pydev_do_not_trace = thread.is_pydev_daemon_thread = True  # a debugger does not stop it
    thread.start()


def _say(**line):
    _say_line(_dumps(line))


def _say_line(line):
    try:
        with _saying:
            _out.write(line + "\n")
    except (OSError, ValueError):
        pass


# A cell may put other functions in the places of these.
_dumps, _loads = json.dumps, json.loads
_settrace, _setprofile = sys.settrace, sys.setprofile


def register(event, function):
    with _lock:
        _hooks[event].append(function)
    _tell_count()


def unregister(function):
    with _lock:
        for list_ in _hooks.values():
            if function in list_:
                list_.remove(function)
    _tell_count()


def _tell_count():
    if _out is not None:
        with _lock:
            count = sum(len(list_) for list_ in _hooks.values())
        _say(hooks=count)


def _serve(told):
    for line in told:
        try:
            asked = _loads(line)
            if "ask" in asked:
                _answer(asked["id"], asked["ask"])
            elif "granted" in asked:
                _granted(asked["granted"], asked.get("error", ""))
            else:
                _todo.put(asked)
        except Exception:  # the next one may be better
            pass


def _answer(number, question):
    _settrace(None)  # a person's own would run here too
    _setprofile(None)
    if question == "variables":
        _say_line(f'{{"id":{number:d},"answer":{variables.listing()}}}')
    elif question == "trim":
        _trim()
        _say(id=number, answer=True)
    else:
        _say(id=number, answer=None)


def _trim():
    """Gives memory that was freed back to the system. It is still full of what was
    there last, which a checkpoint would hold as if it were anybody's."""
    try:
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)
    except (ImportError, OSError, AttributeError):  # not the GNU C library
        pass


_wants = itertools.count(1)
_want = None  # the newest: (number, event, [error])


def want(configuration, wait=True):
    """Asks for a configuration and waits until it is there; "" gives it back.
    Returns why it is not, or None. Only the newest want is answered."""
    global _want
    if _out is None:
        return "This kernel cannot change its configuration."
    number, event, error = mine = next(_wants), threading.Event(), []
    _want = mine
    _say(want=configuration, id=number)
    if not wait:
        return None
    try:
        event.wait()
    except KeyboardInterrupt:
        want("", wait=False)
        raise
    return error[0]


def settled(seconds):
    """Waits for the answer to the newest want. Returns why it was refused, None
    if it was not, and "" when nobody has answered in time."""
    if _want is None or not _want[1].wait(seconds):
        return ""
    return _want[2][0]


def _granted(number, error):
    newest = _want
    if newest is not None and newest[0] == number:
        newest[2].append(str(error) or None)
        newest[1].set()


def _run_all():
    while True:
        asked = _todo.get()
        try:
            errors = run(asked["event"], asked["reason"], asked.get("dir"))
        except Exception as e:
            errors = [_text(e)]
        _say(id=asked.get("id", 0), errors=errors)


def run(event, reason, directory=None):
    """Runs the hooks of an event and returns what they raised. Before a
    checkpoint the last registered is the first to run, as with things to close."""
    if event == "after_restore" and reason in ("branch", "template"):
        reseed(os.urandom(32))
    if event == "after_restore" and reason == "template":
        try:
            birth.adapt(directory)
        except BaseException as e:
            return [_text(e)]
    with _lock:
        todo = list(_hooks[event])
    if event == "before_checkpoint":
        todo.reverse()
    errors = []
    for function in todo:
        try:
            function(reason)
        except BaseException as e:
            name = getattr(function, "__name__", "a hook")
            errors.append(f"{name}: {_text(e)}")
            traceback.print_exc()  # below the cell that ran last: the person's own code failed
    return errors


def _text(error):
    return f"{type(error).__name__}: {error}"


def reseed(seed):
    """New random numbers for a copy of a process that goes on beside the first."""
    import random

    random.seed(seed)
    ssl = sys.modules.get("ssl")
    if ssl is not None:
        ssl.RAND_add(seed, len(seed))
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        try:
            numpy.random.seed(int.from_bytes(seed[:4], "little"))
        except Exception:
            pass
    torch = sys.modules.get("torch")
    if torch is not None:
        try:
            torch.manual_seed(int.from_bytes(seed[:8], "little") >> 1)
        except Exception:
            pass
