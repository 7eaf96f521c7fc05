"""A stand-in for the Hugging Face hub: one repository at one revision, from a folder."""

import hashlib
import json
import re
import socket
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

_LARGE = 100_000  # bytes from which the hub keeps a file by its SHA-256
_BLOCK = 1 << 16


class Hub(ThreadingHTTPServer):
    """Serves ``folder`` as ``repo_id`` at ``revision``; counts bytes `sent` and downloads `served`.

    ``stop_after`` bytes of a file it waits for `go_on`, or cuts the line where `cut` is set.
    """

    def __init__(self, folder: Path, repo_id: str, revision: str) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.folder, self.repo_id, self.revision = folder, repo_id, revision
        self.sent = 0
        self.served: Counter[str] = Counter()
        self.stop_after: int | None = None
        self.cut = False
        self.altered = ""  # a file that is sent with one byte changed
        self.token = ""  # demanded, if set
        self.stopped, self.go_on = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients are killed here, on purpose."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        """What HF_ENDPOINT must be."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def files(self) -> list[dict[str, object]]:
        """The repository's files as the API lists them."""
        listed: list[dict[str, object]] = []
        for file in sorted(self.folder.rglob("*")):
            if not file.is_file():
                continue
            name, size = file.relative_to(self.folder).as_posix(), file.stat().st_size
            sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
            about: dict[str, object] = {"rfilename": name, "path": name, "size": size}
            about |= {"type": "file", "blobId": sha256[:40], "oid": sha256[:40]}
            if size > _LARGE:
                about["lfs"] = {"sha256": sha256, "oid": sha256, "size": size, "pointerSize": 130}
            listed.append(about)
        return listed


class _Answer(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.server, urlsplit(self.path).path
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._json({"error": "Invalid credentials"}, 401)
        elif path.startswith(f"/api/models/{hub.repo_id}/tree/{hub.revision}"):
            self._json(hub.files())
        elif path == f"/api/models/{hub.repo_id}/revision/{hub.revision}":
            about = {"id": hub.repo_id, "sha": hub.revision, "siblings": hub.files()}
            self._json(about | {"private": False, "tags": [], "downloads": 0})
        elif match := re.fullmatch(f"/{hub.repo_id}/resolve/{hub.revision}/(.+)", path):
            self._file(match[1])
        else:
            self._json({"error": "not found"}, 404)

    def _json(self, content: object, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _file(self, name: str) -> None:
        hub = self.server
        body = (hub.folder / name).read_bytes()
        sha256 = hashlib.sha256(body).hexdigest()
        if name == hub.altered:
            body = body[:-1] + bytes([body[-1] ^ 1])
        begin = 0
        if match := re.match(r"bytes=(\d+)-", self.headers.get("Range", "")):
            begin = int(match[1])
        etag = sha256 if len(body) > _LARGE else sha256[:40]
        self.send_response(206 if begin else 200)
        for key, value in {
            "ETag": f'"{etag}"', "X-Repo-Commit": hub.revision, "Accept-Ranges": "bytes",
            "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(body)),
            "Content-Length": str(len(body) - begin),
            "Content-Range": f"bytes {begin}-{len(body) - 1}/{len(body)}",
        }.items():  # fmt: skip
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            hub.served[name] += 1
            self._send(body, begin)

    def _send(self, body: bytes, begin: int) -> None:
        hub = self.server
        for at in range(begin, len(body), _BLOCK):
            if hub.stop_after is not None and at - begin >= hub.stop_after:
                self.wfile.flush()
                hub.stopped.set()
                if hub.cut:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                hub.go_on.wait(60)
            self.wfile.write(body[at : at + _BLOCK])
            hub.sent += len(body[at : at + _BLOCK])
