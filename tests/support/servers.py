"""Real servers on loopback, each in a process of its own."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import requests

BIN = Path(sys.executable).parent
DEADLINE = 60.0  # seconds for a server to answer


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], ready_url: str, cwd: Path, log: Path) -> Iterator[None]:
    """A process that answers at ``ready_url``, until the block ends."""
    with log.open("wb") as written:
        process = subprocess.Popen(command, cwd=cwd, stdout=written, stderr=subprocess.STDOUT)
        try:
            await_answer(process, ready_url, log)
            yield
        finally:
            process.kill()  # its data is only this test's
            process.wait()


def await_answer(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait until ``url`` answers; fails with the log if the process ends."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        with contextlib.suppress(requests.RequestException):
            requests.get(url, timeout=1)
            return
        time.sleep(0.05)  # a foreign process has no event to await
    raise AssertionError(log.read_text(errors="replace")[-2000:])


@contextlib.contextmanager
def seaweedfs(folder: Path, key: str, secret: str) -> Iterator[str]:
    """SeaweedFS's S3 server; yields its endpoint."""
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "t", "credentials": [{"accessKey": key, "secretKey": secret}]}
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [{**identity, "actions": actions}]}))
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    grpc = {f"{name}.port.grpc": free_port() for name in ports}
    options = {f"{name}.port": port for name, port in ports.items()} | grpc
    command = [
        str(BIN / "weed"), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-s3", f"-s3.config={config}", "-volume.max=20", "-master.volumeSizeLimitMB=64",
        *(f"-{name}={value}" for name, value in options.items()),
    ]  # fmt: skip
    endpoint = f"http://127.0.0.1:{ports['s3']}"
    with running(command, f"{endpoint}/status", folder, folder / "weed.log"):
        yield endpoint


@contextlib.contextmanager
def rclone(folder: Path, key: str, secret: str) -> Iterator[str]:
    """rclone's S3 server over ``folder``, whose subfolders are buckets; yields its endpoint."""
    port = free_port()
    command = [
        shutil.which("rclone", path=str(BIN)) or "rclone", "serve", "s3", "--auth-key",
        f"{key},{secret}", "--addr", f"127.0.0.1:{port}", "--config", str(folder / "none"),
        str(folder),
    ]  # fmt: skip
    endpoint = f"http://127.0.0.1:{port}"
    with running(command, endpoint, folder, folder / "rclone.log"):
        yield endpoint
