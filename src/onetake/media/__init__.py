"""Pictures, clips and frames: how they come in, go out and are measured."""
