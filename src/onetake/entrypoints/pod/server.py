"""The process of a static pod: it listens while it boots, runs jobs, and ends on SIGTERM."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address

import uvicorn

from onetake.entrypoints.pod.api import Pod, make_app
from onetake.entrypoints.pod.desk import Desk
from onetake.entrypoints.runpod.runner import Runner
from onetake.runtime.errors import SettingsError
from onetake.runtime.settings import Settings
from onetake.takes.fitness import checks_of
from onetake.takes.worker import Worker

LAST_BYTES = 5  # seconds for downloads to finish when the pod leaves

log = logging.getLogger("onetake")


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or until the card is lost; returns the exit code.

    Raises:
        OnetakeError: it cannot start.
    """
    with listen(settings) as listener:
        worker = Worker(settings.model_copy(update={"public_url": files_url(settings)}))
        log.info("listening on %s:%d", settings.host, settings.port)
        return asyncio.run(run_pod(Pod(worker, Desk(settings)), listener))


async def run_pod(pod: Pod, listener: socket.socket) -> int:
    """Run the server and the jobs; returns the exit code."""
    # asyncio does this for sockets that it opens; without it each answer takes 40 ms more.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = _Server(
        uvicorn.Config(
            make_app(pod),
            lifespan="off",
            ws="none",
            log_config=None,  # our log is set up already
            access_log=False,  # paths hold job ids
            server_header=False,
            timeout_graceful_shutdown=LAST_BYTES,
        )
    )
    serving = asyncio.create_task(server.serve([listener]))
    working = asyncio.create_task(_run_jobs(pod.worker, pod.desk))
    await asyncio.wait([serving, working], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    await working
    return 1 if pod.desk.lost else 0


async def _run_jobs(worker: Worker, desk: Desk) -> None:
    """Boot like a worker of RunPod's queue, then run jobs until SIGTERM."""
    await asyncio.to_thread(_boot, worker)
    if threading.current_thread() is threading.main_thread():  # others get no signals
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, desk.leave)
    await desk.work(Runner(worker, desk.update, lambda: len(desk.unfinished())))


def _boot(worker: Worker) -> None:
    worker.boot()
    for check in checks_of(worker):
        check()


def listen(settings: Settings) -> socket.socket:
    """The pod's open port.

    Raises:
        SettingsError: it would be open to other machines without a key, or it is taken.
    """
    if not (_is_loopback(settings.host) or settings.api_key):
        problem = f"not set; a pod that listens on {settings.host} needs a key, such as 32 letters"
        raise SettingsError("ONETAKE_API_KEY", problem)
    try:
        return socket.create_server((settings.host, settings.port))
    except OSError as error:
        problem = f"{settings.host}:{settings.port} cannot be listened on ({error.strerror})"
        raise SettingsError("ONETAKE_HOST, ONETAKE_PORT", problem) from error


def files_url(settings: Settings) -> str:
    """The address of `/files`, as the pod's clients know it."""
    if settings.public_url:
        return settings.public_url
    if settings.pod_id and not _is_loopback(settings.host):
        return f"https://{settings.pod_id}-{settings.port}.proxy.runpod.net/files"
    host = "localhost" if settings.host == "0.0.0.0" else settings.host  # noqa: S104 - only compared
    return f"http://{host}:{settings.port}/files"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would close the port while clients wait."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
