"""Whether the container is well, by the exit code.

A pod is once `/ping` answers 200: it says 204 while it boots. A worker of RunPod's queue has no
port; it ends itself, and so the container, when it cannot go on, so one that runs is well.
"""

import http.client
import os
import sys


def pod_is_ready(host: str, port: int) -> bool:
    """The pod takes jobs."""
    connection = http.client.HTTPConnection(host, port, timeout=4)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False


if __name__ == "__main__" and os.environ.get("MODE_TO_RUN") == "pod":
    host = os.environ.get("ONETAKE_HOST") or "127.0.0.1"
    if not pod_is_ready(host, int(os.environ.get("ONETAKE_PORT") or 8000)):
        sys.exit("no 200 from /ping")
