"""Checks before every route: the key, the rate and the size of the body."""

import hmac
import time

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onetake.entrypoints.pod.refusal import RefusedError, refusal
from onetake.runtime.settings import Settings

MOST_CLIENTS = 10_000  # the rates of so many are kept
OPEN = "/ping"  # for load balancers, which have no key


class Rate:
    """A token bucket for each client: it holds a minute's requests and fills up with time."""

    def __init__(self, per_minute: int) -> None:
        self._most = per_minute
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, and the time of counting

    def wait(self, client: str) -> float:
        """Seconds until ``client`` may ask; 0: it may now, and a token is taken."""
        now = time.monotonic()
        tokens, counted = self._buckets.pop(client, (float(self._most), now))
        tokens = min(self._most, tokens + (now - counted) * self._most / 60)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - allowed, now)  # the newest are last
        if len(self._buckets) > MOST_CLIENTS:
            del self._buckets[next(iter(self._buckets))]
        return 0.0 if allowed else (1 - tokens) * 60 / self._most


class Guard:
    """ASGI middleware. FastAPI can limit the body too, but answers in its own words."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._key = settings.api_key
        self._max_body = settings.max_body
        self._rate = Rate(settings.rate_limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, or refuse it."""
        if scope["type"] != "http" or scope["path"] == OPEN:
            await self._app(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            self._check_size(size)
            return message

        try:
            self._check(scope)
        except HTTPException as error:
            await refusal(error)(scope, receive, send)
        else:
            await self._app(scope, counted, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        client = scope["client"][0] if scope["client"] else ""
        if wait := self._rate.wait(client):
            raise RefusedError(429, "too_many_requests: ask less often", retry_after=wait)
        if self._key and not _is_key(headers.get("authorization", ""), self._key):
            problem = "unauthorized: send the key of this pod as `Authorization: Bearer KEY`"
            raise RefusedError(401, problem)
        # Without a key, a page of another site could make videos on its visitor's machine.
        if not self._key and headers.get("sec-fetch-site") == "cross-site":
            raise RefusedError(403, "forbidden: another site's page may not ask; set a key")
        self._check_size(int(headers.get("content-length", "0")))

    def _check_size(self, size: int) -> None:
        if size > self._max_body:
            problem = f"body_too_large: at most {self._max_body:,} bytes are taken; send a URL"
            raise RefusedError(413, problem)


def _is_key(authorization: str, key: SecretStr) -> bool:
    """Whether a header holds the key: after `Bearer`, or alone, as RunPod's clients send it."""
    scheme, _, rest = authorization.partition(" ")
    sent = rest if scheme.lower() == "bearer" else authorization
    return hmac.compare_digest(sent.encode("latin-1"), key.get_secret_value().encode())
