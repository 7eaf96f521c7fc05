"""SHA-256 of files."""

import hashlib
from collections.abc import Callable
from pathlib import Path

_BLOCK = 1 << 22  # bytes


def sha256_of(file: Path, on_bytes: Callable[[int], object] | None = None) -> str:
    """The SHA-256 of ``file`` as 64 hex digits; ``on_bytes`` is called with each block's length.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
            if on_bytes:
                on_bytes(len(block))
    return digest.hexdigest()
