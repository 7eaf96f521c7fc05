"""A pod's server in a thread of the test process, on loopback."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from onetake.entrypoints.pod import server
from onetake.entrypoints.pod.api import Pod
from onetake.entrypoints.pod.desk import Desk
from onetake.entrypoints.pod.server import run_pod
from onetake.models.spec import VideoModel
from onetake.runtime.errors import OnetakeError
from onetake.runtime.settings import Settings
from onetake.takes.worker import Worker


@dataclass
class Served:
    """A running pod."""

    url: str
    pod: Pod
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread = field(init=False)
    failure: OnetakeError | None = None

    def leave(self) -> None:
        """Leave as on SIGTERM."""
        self.loop.call_soon_threadsafe(self.pod.desk.leave)


@contextlib.contextmanager
def serving(
    settings: Settings, model: VideoModel, checks: list[Callable[[], object]] | None = None
) -> Iterator[Served]:
    """A pod with ``model`` in it, until the block ends; ``checks`` replace those of its boot."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    worker = Worker(settings.model_copy(update={"public_url": f"{url}/files"}))
    worker._model = model
    served = Served(url, Pod(worker, Desk(worker.settings)), asyncio.new_event_loop())

    def run() -> None:
        with contextlib.closing(served.loop) as loop:
            try:
                loop.run_until_complete(run_pod(served.pod, listener))
            except OnetakeError as error:
                served.failure = error
            loop.run_until_complete(loop.shutdown_default_executor())

    served.thread = threading.Thread(target=run, name="pod")
    with pytest.MonkeyPatch.context() as patch:
        if checks is not None:
            patch.setattr(server, "checks_of", lambda _worker: checks)
        served.thread.start()
        try:
            yield served
        finally:
            with contextlib.suppress(RuntimeError):  # it has left already
                served.leave()
            served.thread.join()
