"""Seconds and memory of one segment; what `onetake bench` measures."""

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

    Prompts are forgotten first: what is measured is a job with new ones.
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
    """The figures, with the peak at the end."""
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
    """Seconds until the card has done what was asked inside; a range of that name in traces."""
    card = torch.cuda.is_available()
    started = time.perf_counter()
    with record_function(stage), torch.cuda.nvtx.range(stage) if card else nullcontext():
        yield
        if card:
            torch.cuda.synchronize()
    figures[stage] = time.perf_counter() - started


def trace(run: Callable[[], object], file: Path) -> None:
    """What runs inside, operation by operation, in Chrome's trace format (ui.perfetto.dev)."""
    with profile() as recorded:
        run()
    recorded.export_chrome_trace(str(file))
