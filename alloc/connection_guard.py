"""What stands before the requests: connections that wait for their client do so for a while, and not too many of them."""

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from .request_guard import BODY_SECONDS

MOST_WAITING = 500
"""Connections whose client is to send or read something; with more, the one that has waited longest is closed."""

HEAD_SECONDS = 10.0
"""From the connection, or from the first byte of a later request, to the end of the request's head."""

READ_SECONDS = 30.0
"""For a client that does not read what it is sent."""

_SPARE_SECONDS = 5.0

_Protocol: Any = AutoHTTPProtocol


def guarded_protocol(protocol: Any = _Protocol) -> type[asyncio.Protocol]:
    """The protocol of one server, for `uvicorn.Config(http=...)`.

    uvicorn's own times a connection only after its first answer, and until the next byte: clients that send nothing, half a
    line or half a body, or read nothing, would hold their connections for ever, and with enough of them everybody else would
    be refused.
    """
    waiting: dict[Any, None] = {}  # the longest first

    class Guarded(protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:
            self._begun, self._full = True, False
            self._stage, self._timer = "", None
            super().connection_made(transport)
            self._look()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._enter("")

        def data_received(self, data: bytes) -> None:
            self._begun = True
            super().data_received(data)
            self._look()

        def on_response_complete(self) -> None:
            self._begun = False
            self._enter("")
            super().on_response_complete()
            self._look()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._full = True
            self._look()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._full = False
            self._look()

        def send_400_response(self, msg: str) -> None:
            """Then a request that is at work already has nobody to answer to, and its answer would end in a traceback."""
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
                if self.cycle.response_started:
                    self.transport.abort()
                    return
            super().send_400_response(msg)

        def _look(self) -> None:
            """Starts the clock anew when what the client owes has changed."""
            cycle, stage = self.cycle, ""
            if self._full or self.transport.is_closing():
                stage = "read"
            elif cycle is None or cycle.response_complete:
                stage = "head" if self._begun else "idle"
            elif cycle.more_body:
                stage = "body"
            if stage != self._stage and self in self.connections:
                self._enter(stage)

        def _enter(self, stage: str) -> None:
            if self._timer is not None:
                self._timer.cancel()
            self._stage, self._timer = stage, None
            waiting.pop(self, None)
            if not stage:
                return
            waiting[self] = None
            if stage != "idle":  # uvicorn has a clock for that
                self._timer = self.loop.call_later(_seconds(stage), self.transport.abort)
            if len(waiting) > MOST_WAITING:
                longest = next(iter(waiting))
                del waiting[longest]  # now, as many may come before its end is told
                longest.transport.abort()

    return Guarded


def _seconds(stage: str) -> float:
    """A body that is late is refused in words by `RequestGuard`, before this is over."""
    return {"head": HEAD_SECONDS, "body": BODY_SECONDS + _SPARE_SECONDS, "read": READ_SECONDS}[stage]
