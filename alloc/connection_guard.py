"""What stands before the requests: connections that wait for one do so for a while, and not too many of them."""

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

MOST_WAITING = 500
"""Connections without a request at hand; with more, the one that has waited longest is closed."""

HEAD_SECONDS = 10.0
"""From the connection, or from the first byte of a later request, to the end of the request's head."""

_Protocol: Any = AutoHTTPProtocol


def guarded_protocol() -> type[asyncio.Protocol]:
    """The protocol of one server, for `uvicorn.Config(http=...)`.

    uvicorn's own times a connection only after its first answer, and until the next byte: clients that send nothing or half
    a line would hold their connections for ever, and with enough of them everybody else would be refused.
    """
    waiting: dict[Any, asyncio.TimerHandle | None] = {}  # the longest first

    class Guarded(_Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            waiting[self] = self.loop.call_later(HEAD_SECONDS, self._too_late)
            if len(waiting) > MOST_WAITING:
                longest = next(iter(waiting))
                longest._end_wait()
                longest.transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            self._end_wait()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._at_work():
                self._end_wait()
            elif waiting.get(self) is None and not self.transport.is_closing():
                waiting[self] = self.loop.call_later(HEAD_SECONDS, self._too_late)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if not self._at_work() and not self.transport.is_closing():
                waiting.setdefault(self, None)  # timed by uvicorn until the next byte

        def send_400_response(self, msg: str) -> None:
            # After a good head, what follows may be no HTTP: the application's answer has no place after this one, and
            # would end in a traceback.
            if self._at_work():
                self.cycle.disconnected = True
                self.cycle.message_event.set()
                if self.cycle.response_started:
                    self.transport.abort()
                    return
            super().send_400_response(msg)

        def _at_work(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _end_wait(self) -> None:
            timer = waiting.pop(self, None)
            if timer is not None:
                timer.cancel()

        def _too_late(self) -> None:
            if not self._at_work():
                self.transport.abort()

    return Guarded
