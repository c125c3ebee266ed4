"""Answers with its greeting; /eat takes more memory than a dyno has, /spin burns CPU for a second, /forks says how many processes it may have."""

import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def forks():
    children = []
    try:
        while len(children) < 1000:
            child = os.fork()
            if child == 0:
                time.sleep(600)
                os._exit(0)
            children.append(child)
    except OSError as error:
        return f"{len(children)} {error.strerror}"
    finally:
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)
    return f"{len(children)} and no end"


def eat():
    eaten = []
    while True:
        eaten.append(bytearray(os.urandom(1) * (16 << 20)))


def spin():
    end = time.monotonic() + 1
    while time.monotonic() < end:
        pass
    return "dizzy"


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        answers = {"/eat": eat, "/spin": spin, "/forks": forks}
        answer = answers.get(self.path, lambda: os.environ.get("GREETING", "Hello from Landfall"))()
        body = f"{answer}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        print(f"{self.command} {self.path}", flush=True)


def end(*_):
    print("told to end", flush=True)
    sys.exit()


signal.signal(signal.SIGTERM, end)
print("listening", flush=True)
ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), App).serve_forever()
