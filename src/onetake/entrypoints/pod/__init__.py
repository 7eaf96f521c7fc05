"""The server of a static pod: RunPod's API for one worker, and `POST /generate`."""
