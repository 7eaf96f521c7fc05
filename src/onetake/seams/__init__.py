"""How the segments of a take meet, measured."""
