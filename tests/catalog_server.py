"""A server on this machine that answers as the services of reference catalogs do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


class CatalogServer(HTTPServer):
    """A server with an answer to be set, and the questions that it got."""

    answer: tuple[int, bytes]
    asked: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: CatalogServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        status, content = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(content: bytes) -> Iterator[CatalogServer]:
    """Serve one answer until the end of the block."""
    server = CatalogServer(("127.0.0.1", 0), _Handler)
    server.asked, server.answer = [], (200, content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
