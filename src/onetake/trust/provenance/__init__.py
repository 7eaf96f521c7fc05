"""What shows where a take came from: in its file, in its pixels, beside it and in the log."""
