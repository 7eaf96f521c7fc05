"""Seconds and memory of one segment, as `onetake bench` measures them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch.profiler import profile, record_function

from onetake.models.families import Figures
from onetake.models.spec import DenoiseRequest, TunableModel
from onetake.runtime.units import GIB


def measure(model: TunableModel, request: DenoiseRequest) -> Figures:
    """Seconds of denoising (text included) and of decoding, and the card's peak in GiB.

    Prompts are forgotten first, so that a job with new prompts is measured.
    """
    model.forget_prompts()
    with measured() as figures:
        with timed(figures, "denoise"):
            latents = model.denoise(request, lambda _step: None)
        with timed(figures, "decode"):
            for _batch in model.decode(latents):
                pass
    return figures


@contextmanager
def measured() -> Iterator[Figures]:
    """Figures for the block to fill; their total and the card's peak are added at its end."""
    figures: Figures = {}
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    yield figures
    figures["total"] = sum(seconds or 0.0 for seconds in figures.values())
    figures["peak_gib"] = (
        torch.cuda.max_memory_reserved() / GIB if torch.cuda.is_available() else None
    )


@contextmanager
def timed(figures: Figures, stage: str) -> Iterator[None]:
    """Write the seconds of the block, until the card is done, to ``figures``; name it in traces."""
    card = torch.cuda.is_available()
    started = time.perf_counter()
    with record_function(stage), torch.cuda.nvtx.range(stage) if card else nullcontext():
        yield
        if card:
            torch.cuda.synchronize()
    figures[stage] = time.perf_counter() - started


def trace(run: Callable[[], object], file: Path) -> None:
    """Write each operation of ``run`` to ``file``, in Chrome's trace format (ui.perfetto.dev)."""
    with profile() as recording:
        run()
    recording.export_chrome_trace(str(file))
