"""A twelve-factor app in one file: reads its port and its greeting from the environment."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"{os.environ.get('GREETING', 'Hello from Landfall')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        print(f"{self.command} {self.path}", flush=True)


port = int(os.environ["PORT"])
print(f"listening on {port}", flush=True)
ThreadingHTTPServer(("0.0.0.0", port), Hello).serve_forever()
