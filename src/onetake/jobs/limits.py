"""Limits of a request's fields."""

MAX_PROMPT = 2000  # characters; the text encoder reads 512 tokens
MAX_STORYBOARD = 16_000  # characters of all parts: each hundred cost the check 50 to 150 ms
MAX_PARTS = 64
MIN_SIDE, MAX_SIDE = 64, 2560  # pixels
MAX_SEED = 2**53 - 1  # the largest that survives JSON in every client
JOB_ID = r"^[A-Za-z0-9_-]{1,96}$"
SIZE = r"^\d{2,4}[*xX]\d{2,4}$"


def nearest_side(side: int) -> int:
    """The nearest legal side, in pixels."""
    return min(max(side - side % 2, MIN_SIDE), MAX_SIDE)
