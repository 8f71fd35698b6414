"""A small HTTP service for the platform's tests, quick to start (http.server takes three times as long); run as a process: `app.py PORT [--mode MODE] …`."""

import argparse
import json
import os
import signal
import socketserver
import sys
import threading
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("--slow-start", type=float, default=0.0)
parser.add_argument("--exit", type=int, help="exit with this status before listening")
parser.add_argument("--exit-after", type=float)
parser.add_argument("--ignore-sigterm", action="store_true")
parser.add_argument("--say", default="", help="written to stderr at start, $NAME expanded")
parser.add_argument("--child", action="store_true", help="start a child that sleeps")
parser.add_argument("--flags", type=Path, help="a folder: while it holds `unready`, `ill` or `stuck`, so it answers")
args, _ = parser.parse_known_args()


def stop(*_: object) -> None:
    """Say when SIGTERM came."""
    if args.flags:
        (args.flags / f"sigterm-{os.environ['HOSTNAME']}").write_text(str(time.time()))
    if not args.ignore_sigterm:
        os._exit(0)


class Handler(socketserver.StreamRequestHandler):
    """GET /ready, /live, /env; anything else is answered with the pid. One request a connection."""

    def handle(self) -> None:
        """Answer by the flags."""
        request = self.rfile.readline().split()
        while self.rfile.readline().strip():
            pass
        if not request:
            return
        path = request[1].decode().split("?")[0]
        flag = {"/ready": "unready", "/live": "ill"}.get(path)
        status = b"503 Not now" if flag and args.flags and (args.flags / flag).exists() else b"200 OK"
        body = json.dumps(dict(os.environ) if path == "/env" else {"pid": os.getpid(), "argv": sys.argv}).encode()
        self.wfile.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)))
        self.wfile.write(body)


class Server(socketserver.ThreadingTCPServer):
    """A thread a connection."""

    daemon_threads = True
    request_queue_size = 64


signal.signal(signal.SIGTERM, stop)
if args.say:
    sys.stderr.write(os.path.expandvars(args.say) + "\n")
if args.child:
    import subprocess

    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    (args.flags / "child").write_text(str(child.pid))
if args.exit is not None:
    sys.exit(args.exit)
if args.exit_after is not None:
    threading.Timer(args.exit_after, lambda: os._exit(7)).start()
time.sleep(args.slow_start)
Server(("127.0.0.1", args.port), Handler).serve_forever()
