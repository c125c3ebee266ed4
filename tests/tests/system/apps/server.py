"""Tells which packages it got. The tests read it."""
import http.server
import importlib.util
import os

import six


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        dev = "with" if importlib.util.find_spec("iniconfig") else "without"
        body = f"six {six.__version__}, {dev} development packages, WEB_CONCURRENCY={os.environ.get('WEB_CONCURRENCY')}, round 1\n"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
