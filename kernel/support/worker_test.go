package support

import (
	"os/exec"
	"testing"
)

// Many callers at a time: descriptors of calls that have ended are given to new
// ones, and no call ends because of another.
const workerTest = `
import json, os, signal, socket, struct, sys, threading
sys.path.insert(0, "python")
from cellar_kernel import worker
server = socket.create_server(("127.0.0.1", 0), backlog=64)
server.setblocking(False)
address = server.getsockname()
pid = os.fork()
if pid == 0:
    try:
        worker.Loop({}, compile("y = x * 2", "cell", "exec"), ["y"], server).run()
    finally:
        os._exit(1)
wrong = []
def read(conn, n):
    data = b""
    while len(data) < n:
        chunk = conn.recv(n - len(data))
        if not chunk:
            raise EOFError("the call ended without an answer")
        data += chunk
    return data
def caller(i):
    try:
        for j in range(120):
            body = json.dumps({"x": 1000 * i + j}).encode()
            with socket.create_connection(address) as conn:
                conn.sendall(struct.pack("<II", len(body), 60000) + body)
                if j % 5 == 4:
                    continue  # this caller goes away
                answer = json.loads(read(conn, *struct.unpack("<I", read(conn, 4))))
            assert answer == {"outputs": {"y": 2 * (1000 * i + j)}}, answer
    except BaseException as e:
        wrong.append(repr(e))
threads = [threading.Thread(target=caller, args=(i,)) for i in range(8)]
for t in threads: t.start()
for t in threads: t.join()
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
assert not wrong, wrong
`

func TestWorkerUnderLoad(t *testing.T) {
	if out, err := exec.Command("python3", "-c", workerTest).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
