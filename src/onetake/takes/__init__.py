"""The story of a job, and the worker that makes it."""
