"""Answers with what the buildpacks left for the dyno."""
import http.server
import os
from pathlib import Path

bill = Path("/layers/sbom/launch/example_greeter/greeting/sbom.cdx.json")
said = [os.environ.get(name) for name in ("GREETING", "ONLY", "STARTED", "FROM_OUTSIDE")]
said.append("bill" if bill.is_file() and not bill.stat().st_mode & 0o002 else "no bill")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{said}\n".encode())

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
