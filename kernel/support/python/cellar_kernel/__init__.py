"""What Cellar adds inside an IPython kernel. Nothing here is needed for a cell
to run; without it a kernel only loses convenience (see each function)."""

import codecs
import os
import signal
import subprocess
import sys

from . import birth, lines, pip, portable, variables


def load_ipython_extension(shell):
    shell.system = lambda command: _system(shell, command)
    variables.attach(shell)
    portable.attach(shell)
    lines.attach(shell)
    birth.attach(shell)


def _system(shell, command):
    """``!command`` through pipes. IPython's own way runs it in a pty, and CRIU
    refuses to freeze a process tree with a foreign session on a pty."""
    if command.rstrip().endswith("&"):
        raise OSError("Background processes not supported.")
    expanded = shell.var_expand(command, depth=1)
    show, environment = _through, None
    if pip.is_pip(expanded):
        show = pip.Progress().feed
        environment = {"PIP_PROGRESS_BAR": "raw", **os.environ}
    process = subprocess.Popen(
        expanded,
        shell=True,
        executable="/bin/bash" if os.path.exists("/bin/bash") else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=environment,
    )
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    try:
        while chunk := os.read(process.stdout.fileno(), 1 << 16):
            sys.stdout.write(show(decode(chunk)))
            sys.stdout.flush()
        sys.stdout.write(show(decode(b"", True), True))
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        process.stdout.close()
    shell.user_ns["_exit_code"] = process.wait()


def _through(text, end=False):
    return text
