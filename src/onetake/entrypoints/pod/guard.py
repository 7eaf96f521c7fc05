"""What stands before every route: who may ask, how often, and how much they may send."""

import hmac
import time

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onetake.entrypoints.pod.refusal import RefusedError, refusal
from onetake.runtime.settings import Settings

MOST_CLIENTS = 10_000  # whose rate is remembered
OPEN = "/ping"  # a load balancer asks it, without a key


class Rate:
    """A bucket of tokens for each client: a minute's requests, filled up as time goes by."""

    def __init__(self, a_minute: int) -> None:
        self._most = a_minute
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, and when they were counted

    def wait(self, client: str) -> float:
        """Seconds until ``client`` may ask; 0 if it may now, which takes a token."""
        now = time.monotonic()
        tokens, counted = self._buckets.pop(client, (float(self._most), now))
        tokens = min(self._most, tokens + (now - counted) * self._most / 60)
        may = tokens >= 1
        self._buckets[client] = (tokens - may, now)  # the newest are last
        if len(self._buckets) > MOST_CLIENTS:
            del self._buckets[next(iter(self._buckets))]
        return 0.0 if may else (1 - tokens) * 60 / self._most


class Guard:
    """ASGI middleware. FastAPI has a limit of the body too, which answers in its own words."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._key = settings.api_key
        self._max_body = settings.max_body
        self._rate = Rate(settings.rate_limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may go on."""
        if scope["type"] != "http" or scope["path"] == OPEN:
            await self._app(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            self._check_size(taken)
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
        # Without a key, a page of another site could have its visitor's own machine make videos.
        if not self._key and headers.get("sec-fetch-site") == "cross-site":
            raise RefusedError(403, "forbidden: another site's page may not ask; set a key")
        self._check_size(int(headers.get("content-length", "0")))

    def _check_size(self, size: int) -> None:
        if size > self._max_body:
            problem = f"body_too_large: at most {self._max_body:,} bytes are taken; send a URL"
            raise RefusedError(413, problem)


def _is_key(authorization: str, key: SecretStr) -> bool:
    """Whether a header holds the key, as RunPod's clients send it: after `Bearer`, or bare."""
    scheme, _, rest = authorization.partition(" ")
    given = rest if scheme.lower() == "bearer" else authorization
    return hmac.compare_digest(given.encode("latin-1"), key.get_secret_value().encode())
