"""How the frames of two segments are joined, so that nobody sees where.

A segment decodes the frames that it continues from again. They are almost those of the segment
before, but the VAE loses a little each time. So one is faded into the other over the overlap: the
difference is spread over all of its frames and does not stand between two of them.
"""

import numpy as np

from onetake.media.frames import FrameBatch

LOOKED_AT = 17  # frames before a seam that the gate looks at


def cross_fade(before: FrameBatch, after: FrameBatch) -> FrameBatch:
    """Fade ``before`` into ``after``: uint8 (n, height, width, 3), the same moments of the take."""
    steps = np.arange(1, len(before) + 1, dtype=np.float32) / (len(before) + 1)
    share = steps[:, None, None, None]
    mixed = before * (1 - share) + after * share
    faded: FrameBatch = mixed.round().astype(np.uint8)
    return faded
