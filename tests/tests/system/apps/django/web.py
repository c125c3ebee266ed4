"""Answers with what collectstatic and the hooks left."""
import http.server
import os
from pathlib import Path

import django

left = [name for name in ("collected/site.css", "before", "after") if Path(name).exists()]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"django {django.__version__}: {' '.join(left)}\n".encode())

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
