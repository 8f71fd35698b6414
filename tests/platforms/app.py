"""A small HTTP service for the platform's tests; run as a process: `app.py PORT [--mode MODE] …`."""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


class Handler(BaseHTTPRequestHandler):
    """GET /ready, /live, /env; anything else is answered with the pid."""

    def do_GET(self) -> None:
        """Answer by the flags."""
        path = self.path.split("?")[0]
        flag = {"/ready": "unready", "/live": "ill"}.get(path)
        status = 503 if flag and args.flags and (args.flags / flag).exists() else 200
        body = json.dumps(dict(os.environ) if path == "/env" else {"pid": os.getpid(), "argv": sys.argv}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no access log."""


signal.signal(signal.SIGTERM, stop)
if args.say:
    sys.stderr.write(os.path.expandvars(args.say) + "\n")
if args.child:
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    (args.flags / "child").write_text(str(child.pid))
if args.exit is not None:
    sys.exit(args.exit)
if args.exit_after is not None:
    threading.Timer(args.exit_after, lambda: os._exit(7)).start()
time.sleep(args.slow_start)
ThreadingHTTPServer(("127.0.0.1", args.port), Handler).serve_forever()
