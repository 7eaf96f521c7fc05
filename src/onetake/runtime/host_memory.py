"""Host memory of this process: its peak, and freeing it after a job."""

import ctypes
import gc
from contextlib import suppress
from pathlib import Path

_KIB_PER_GIB = 1 << 20


def trim_host_memory() -> None:
    """Collect garbage, and let glibc return free memory to the host."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library has no such function
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def reset_host_peak() -> None:
    """Start a new peak, if Linux lets the process do so."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def host_peak_gib() -> float | None:
    """Largest resident memory of this process since the last reset, in GiB; None off Linux."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / _KIB_PER_GIB
    return None
