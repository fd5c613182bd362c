"""The far ends of anchors: `python -m benchmarks.authorities kind directory`.

The time-stamping authority is `openssl ts` behind HTTP. The witness signs what it gets and checks no proof: what a
caller pays for is making the proof and waiting. It prints the anchor's URL, and ends with its standard input.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks import ours
from tests.anchors.tsa import Authority


def _serve(answer: Callable[[bytes], bytes], content_type: str) -> str:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_address[1]}"


def _main() -> None:
    kind, directory = sys.argv[1], Path(sys.argv[2])
    if kind == "tsa":
        authority = Authority(directory)
        host = _serve(authority.stamp, "application/timestamp-reply")
        print(f"tsa+http://{host}/?tsa_ca_file={authority.root}", flush=True)
    else:
        cosigner = ours.Cosigner()
        host = _serve(cosigner.answer, "text/plain")
        print(f"witness+http://{host}/?vkey={cosigner.vkey}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _main()
