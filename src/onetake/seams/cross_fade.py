"""How the frames of two segments are joined, so that the hand-over is not seen.

A segment decodes the frames that it continues from again. They show what the segment before showed,
but not quite: the VAE loses a little each time. So the one is faded into the other over the
overlap, and what differs is spread over its frames instead of standing between two of them.
"""

import numpy as np

from onetake.media.frames import FrameBatch

LOOKED_AT = 17  # frames before a seam that a gate looks at


def cross_fade(before: FrameBatch, after: FrameBatch) -> FrameBatch:
    """From ``before`` into ``after``, both uint8 (n, height, width, 3) of the same moments."""
    steps = np.arange(1, len(before) + 1, dtype=np.float32) / (len(before) + 1)
    share = steps[:, None, None, None]
    mixed = before * (1 - share) + after * share
    faded: FrameBatch = mixed.round().astype(np.uint8)
    return faded
