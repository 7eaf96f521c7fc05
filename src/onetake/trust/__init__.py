"""What may be asked and what may leave, and how a take shows where it came from."""
