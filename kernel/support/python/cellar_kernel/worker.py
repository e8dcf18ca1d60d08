"""Serves calls of one published cell from a thawed kernel.

The interpreter that was published stays as it is: every call runs in a fork of
it, so a call starts from the published state, sees no other call's variables,
and what it breaks ends with it.

One connection carries one call. Request: length u32, deadline u32 (milliseconds),
JSON object of inputs. Answer: length u32, JSON. Little-endian.
"""

import json
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback

from .contract import to_json
from .hooks import reseed

_HEAD = struct.Struct("<II")
_LIMIT = 64 << 20
_CALLS = 256


class _Call:
    def __init__(self, conn):
        self.conn, self.data, self.pid, self.pidfd, self.deadline = conn, bytearray(), 0, -1, None

    def request(self):
        """The whole request, or None while it is incomplete."""
        if len(self.data) < _HEAD.size:
            return None
        size, milliseconds = _HEAD.unpack_from(self.data)
        if size > _LIMIT:
            raise ValueError("request too large")
        if len(self.data) < _HEAD.size + size:
            return None
        self.deadline = time.monotonic() + milliseconds / 1000
        return bytes(self.data[_HEAD.size : _HEAD.size + size])


def serve(shell, source, name, outputs, port):
    """Runs until the container ends. Called in the kernel's main thread."""
    code = compile(shell.transform_cell(source), f"<cell {name}>", "exec")
    server = socket.create_server(("127.0.0.1", port), backlog=1024)
    server.setblocking(False)
    Loop(shell.user_ns, code, outputs, server).run()


class Loop:
    def __init__(self, namespace, code, outputs, server):
        self.namespace, self.code, self.outputs, self.server = namespace, code, outputs, server
        self.poll, self.calls = select.epoll(), {}
        self.closing = []  # sockets and descriptors to close when all events of a turn are dealt with
        self.poll.register(server, select.EPOLLIN)

    def run(self):
        while True:
            now = time.monotonic()
            ends = [c.deadline for c in set(self.calls.values()) if c.pid and c.deadline]
            for fd, event in self.poll.poll(max(0, min(ends) - now) if ends else -1):
                if fd == self.server.fileno():
                    self.accept()
                elif fd in self.calls:
                    self.event(self.calls[fd], fd)
            self.close()
            now = time.monotonic()
            for call in set(self.calls.values()):
                if call.pid and call.deadline and call.deadline <= now:
                    self.drop(call)
            self.close()

    def accept(self):
        try:
            conn, _ = self.server.accept()
        except OSError:
            return
        if len(self.calls) > 2 * _CALLS:
            conn.close()
            return
        conn.setblocking(False)
        self.calls[conn.fileno()] = _Call(conn)
        self.poll.register(conn, select.EPOLLIN | select.EPOLLRDHUP)

    def event(self, call, fd):
        if fd == call.pidfd:  # the call's process has ended; it has answered, or died
            self.drop(call)
            return
        try:
            chunk = call.conn.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk or call.pid:  # the caller has gone
            self.drop(call)
            return
        call.data += chunk
        try:
            body = call.request()
        except ValueError:
            self.drop(call)
            return
        if body is not None:
            self.fork(call, body)

    def fork(self, call, body):
        sys.stdout.flush()
        sys.stderr.flush()
        seed = os.urandom(32)
        pid = os.fork()
        if pid == 0:
            try:
                self.child(call, body, seed)
            finally:
                os._exit(1)
        call.data = bytearray()
        call.pid, call.pidfd = pid, os.pidfd_open(pid)
        self.calls[call.pidfd] = call
        self.poll.register(call.pidfd, select.EPOLLIN)

    def close(self):
        """Until here the numbers of dropped calls are not given again: an event of
        this turn that was meant for one must not end another."""
        for it in self.closing:
            os.close(it) if isinstance(it, int) else it.close()
        self.closing.clear()

    def drop(self, call):
        if call.pid:
            try:
                os.kill(call.pid, signal.SIGKILL)
                os.waitpid(call.pid, 0)
            except OSError:
                pass
            self.poll.unregister(call.pidfd)
            self.calls.pop(call.pidfd, None)
            self.closing.append(call.pidfd)
        if call.conn is not None:
            fd = call.conn.fileno()
            self.poll.unregister(fd)
            self.calls.pop(fd, None)
            self.closing.append(call.conn)
            call.conn = None

    def child(self, call, body, seed):
        self.server.close()
        self.close()
        for other in set(self.calls.values()):
            if other is not call and other.conn is not None:
                other.conn.close()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.stdout = sys.stderr = open(os.devnull, "w")
        reseed(seed)
        _single_threaded()
        answer = self.answer(json.loads(body))
        try:
            text = json.dumps(answer, allow_nan=False).encode()
        except ValueError as e:
            text = json.dumps({"error_name": "ValueError", "error_message": f"an output is not JSON: {e}", "traceback": []}).encode()
        call.conn.setblocking(True)
        call.conn.sendall(struct.pack("<I", len(text)) + text)
        os._exit(0)

    def answer(self, inputs):
        ns = self.namespace
        try:
            for name, value in inputs.items():
                ns[name] = _like(ns.get(name), value)
        except Exception as e:
            return {"error_name": type(e).__name__, "error_message": f"{name}: {e}", "traceback": [], "input": name}
        try:
            exec(self.code, ns)
        except BaseException as e:
            frames = traceback.extract_tb(e.__traceback__)[1:]
            return {
                "error_name": type(e).__name__,
                "error_message": str(e),
                "traceback": [f"{f.filename}, line {f.lineno}, in {f.name}" for f in frames],
            }
        out = {}
        for name in self.outputs:
            if name not in ns:
                return {"error_name": "NameError", "error_message": f"the cell did not set {name}", "traceback": []}
            try:
                out[name] = to_json(ns[name])
            except (TypeError, ValueError) as e:
                return {"error_name": type(e).__name__, "error_message": f"{name}: {e}", "traceback": []}
        return {"outputs": out}


def _like(old, value):
    """An input takes the form its last value had: an array stays an array."""
    kind = type(old)
    module = (kind.__module__ or "").partition(".")[0]
    if module == "numpy" and kind.__name__ == "ndarray":
        import numpy

        return numpy.asarray(value, dtype=old.dtype)
    if module == "pandas" and kind.__name__ == "DataFrame":
        import pandas

        return pandas.DataFrame(value)
    if module == "pandas" and kind.__name__ == "Series":
        import pandas

        return pandas.Series(value)
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    return value


def _single_threaded():
    """OpenMP's worker threads did not survive the fork, and a parallel region
    would wait for them for ever: one thread does the work itself."""
    pools = sys.modules.get("threadpoolctl")
    if pools is None and "sklearn" in sys.modules:
        import threadpoolctl as pools
    if pools is not None:
        try:
            pools.threadpool_limits(1)
        except Exception:
            pass
