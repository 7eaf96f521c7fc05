"""Jobs answered by a worker in this process, and the frames of what came out."""

import io
from typing import Any
from urllib.parse import unquote, urlsplit

import av
import numpy as np

from onetake.entrypoints.runpod.answer import answer
from onetake.runtime.cancellation import Control
from onetake.takes.worker import Worker

QUICK = {"prompt": "a red bottle on white", "num_inference_steps": 2, "size": "128*96", "seed": 3}


def frames_of(source: str | bytes) -> np.ndarray:
    """The decoded frames of a URL's file, or of bytes."""
    opened = io.BytesIO(source) if isinstance(source, bytes) else unquote(urlsplit(source).path)
    with av.open(opened) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def reply_to(
    worker: Worker, request: object, control: Control | None = None, job_id: str = "job"
) -> dict[str, Any]:
    """What RunPod would be answered."""
    return answer(worker, {"id": job_id, "input": request}, control or Control())


def answered(worker: Worker, request: dict[str, Any], job_id: str = "job") -> dict[str, Any]:
    """The result of a job that must succeed."""
    reply = reply_to(worker, request, job_id=job_id)
    assert "error" not in reply, reply
    return reply
