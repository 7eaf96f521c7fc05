"""Real parts that tests share: the embedded model, a picture, a web server."""

import io
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onetake.delivery.storage.local import LocalStore
from onetake.models.catalogue import MODELS
from onetake.models.loader import load
from onetake.models.spec import VideoModel
from onetake.runtime.settings import Settings
from onetake.takes.worker import Worker
from tests.support.site import Site


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine that runs the tests reaches them."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ONETAKE_{name.upper()}", raising=False)
    for name in ("ENDPOINT_URL", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "NAME", "REGION", "PREFIX"):
        monkeypatch.delenv(f"BUCKET_{name}", raising=False)
    for name in ("RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_POD_ID", "MODE_TO_RUN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """A test that sets up the log, as a command does, leaves none of that behind."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def tiny() -> VideoModel:
    """The embedded model, loaded once."""
    return load(MODELS["tiny"], Settings())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A development worker's settings, with inputs from loopback allowed."""
    return Settings(
        model="tiny",
        output_dir=tmp_path / "outputs",
        inputs_dir=tmp_path / "inputs",
        work_dir=tmp_path / "work",
        keep_dir=tmp_path / "kept",
        allow_private_inputs=True,
    )


@pytest.fixture
def worker(settings: Settings, tiny: VideoModel) -> Worker:
    """A worker with the embedded model already in it."""
    ready = Worker(settings, LocalStore(settings.output_dir))
    ready._model, ready._profile = tiny, "exact"
    return ready


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    """A red disc on a grey gradient, 400 x 300."""
    y, x = np.mgrid[:300, :400]
    pixels = np.repeat((100 + x // 4)[..., None], 3, axis=2).astype(np.uint8)
    pixels[(x - 200) ** 2 + (y - 150) ** 2 < 90**2] = (200, 30, 30)
    return Image.fromarray(pixels)


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """Encode a picture as a file of the given format."""

    def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return encode


@pytest.fixture
def site() -> Iterator[Site]:
    """A real server that inputs can be fetched from."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.visited.append(self.path)
            status, headers, body = served.pages.get(self.path, (404, {}, b"not found"))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield served
        server.shutdown()
        thread.join()
