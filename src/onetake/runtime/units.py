"""Units that several packages count in."""

GIB = 1 << 30  # bytes
