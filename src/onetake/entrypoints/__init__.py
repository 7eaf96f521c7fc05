"""Who starts a worker: a queue, an HTTP server, a command line."""
