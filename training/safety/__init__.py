"""The classifier of what prompts mean: its examples and its training."""
