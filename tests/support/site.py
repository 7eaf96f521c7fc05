"""A web server that inputs are fetched from."""


class Site:
    """A web server on loopback; ``pages`` maps a path to (status, headers, body)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.visited: list[str] = []
