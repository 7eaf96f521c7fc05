"""Host memory of this process: its peak, and giving back what the last job used."""

import ctypes
import gc
from contextlib import suppress
from pathlib import Path

_KIB_A_GIB = 1 << 20


def trim_host_memory() -> None:
    """Give the host back what the last job used: collected here, and returned by glibc."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library has no such function
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def reset_host_peak() -> None:
    """Start a new peak, where Linux lets the process do so."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def host_peak_gib() -> float | None:
    """Largest resident memory of this process since the last reset, in GiB; None off Linux."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / _KIB_A_GIB
    return None
