"""A Hugging Face hub on this machine that serves one data set, and misbehaves when asked to."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git_blob(content: bytes) -> str:
    """Hex SHA-1 by which git names a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class FakeHub(ThreadingHTTPServer):
    """Serves the files below `tree`. Meshes are stored as the hub stores large files, by their SHA-256."""

    daemon_threads = True

    def __init__(self, tree: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {p.relative_to(tree).as_posix(): p.read_bytes() for p in sorted(tree.rglob("*")) if p.is_file()}
        self.sent: list[str] = []
        """Files that were sent, in order."""
        self.refused: str | None = None
        """A file that the server fails to send."""
        self.altered: str | None = None
        """A file that is sent with one byte changed."""

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def entry(self, path: str) -> dict:
        """What the hub says of a file."""
        content = self.files[path]
        entry = {"type": "file", "rfilename": path, "path": path, "size": len(content), "oid": git_blob(content)}
        entry["blobId"] = entry["oid"]
        if path.endswith((".stl", ".msh")):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "sha256": hashlib.sha256(content).hexdigest(),
                            "size": len(content), "pointerSize": 130}
        return entry


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeHub

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        file = re.fullmatch(r"/datasets/lerobot/libero-assets/resolve/[^/]+/(.+)", path)
        if file:
            self._file(file[1], body)
        elif "/tree/" in path:
            self._json([self.server.entry(name) for name in self.server.files])
        elif path.startswith("/api/datasets/lerobot/libero-assets"):
            self._json({"_id": "1", "id": "lerobot/libero-assets", "sha": COMMIT, "private": False, "tags": [],
                        "downloads": 0, "likes": 0, "siblings": [self.server.entry(n) for n in self.server.files]})
        else:
            self._json({"error": "unknown"}, 404)

    def _file(self, name: str, body: bool) -> None:
        content, entry = self.server.files[name], self.server.entry(name)
        if name == self.server.refused and body:
            self._json({"error": "broken"}, 404)
            return
        if name == self.server.altered:
            content = bytes([content[0] ^ 255]) + content[1:]
        self.send_response(200)
        self.send_header("ETag", f'"{entry["lfs"]["sha256"] if "lfs" in entry else entry["oid"]}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.server.sent.append(name)
            self.wfile.write(content)

    def _json(self, content: object, code: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def serve() -> Iterator:
    """`serve(tree)` starts a hub that serves the folder `tree` as LIBERO's assets."""
    running = []

    def start(tree: Path) -> FakeHub:
        hub = FakeHub(tree)
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        running.append(hub)
        return hub

    yield start
    for hub in running:
        hub.shutdown()
        hub.server_close()
