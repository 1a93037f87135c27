"""What stands before the service: who may ask, how large a body may be, how long it may take to come."""

import asyncio
import hmac
from collections.abc import Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 4 << 20
"""Largest body of a request."""

BODY_SECONDS = 10.0
"""A client that takes longer to send its body is refused."""


class RequestGuard:
    """Reads each request's body and hands it on, or answers by ``refuse(code, text, headers)``.

    ``key``: the bearer token that every path but those ``free`` asks for; None: no path does.
    """

    def __init__(self, app: ASGIApp, key: str | None, free: tuple[str, ...], refuse: Callable[..., Response]) -> None:
        self._app, self._key, self._free, self._refuse = app, key, free, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        wrong = self._wrong(request)
        body = b"" if wrong else await self._body(request)
        if wrong or isinstance(body, tuple):
            await self._refuse(*(wrong or body))(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    def _wrong(self, request: Request) -> tuple[Any, ...]:
        """Code, text and headers of a refusal, if there is one."""
        if self._key is not None and request.url.path not in self._free and not _allowed(request, self._key):
            return 401, "expected the header Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"}
        size = request.headers.get("content-length", "0" if request.method in ("GET", "HEAD") else "")
        # Without a length, nothing says when to stop reading.
        if "transfer-encoding" in request.headers or not size.isdecimal():
            return 411, "expected a content-length", {"Connection": "close"}
        if int(size) > MOST_BYTES:
            return 413, f"the body has {size} bytes, expected at most {MOST_BYTES:,}", {"Connection": "close"}
        return ()

    @staticmethod
    async def _body(request: Request) -> bytes | tuple[Any, ...]:
        try:
            return await asyncio.wait_for(request.body(), BODY_SECONDS)
        except TimeoutError:
            return 408, f"the body did not come within {BODY_SECONDS} seconds", {"Connection": "close"}
        except ClientDisconnect:
            return 400, "the body broke off"


def _replay(body: bytes, receive: Receive) -> Receive:
    """Receives a body that was read before, then whatever else comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _allowed(request: Request, key: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), key.encode())
