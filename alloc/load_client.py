"""A thin HTTP client that loads the service: uploads over connections that stay open, each answer's latency noted.

One thread, no HTTP library: a request costs this process a fraction of a millisecond, so that most of two cores is left to
the service.
"""

import asyncio
import gc
import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import InputError

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_SECONDS = 60
"""A load that takes longer than this and a second an upload is an error."""


@dataclass(frozen=True, eq=False)
class Load:
    """What a load measured: ``latency`` float64[uploads] seconds, in the order in which the uploads were due; the answers'
    bodies in that order; ``seconds`` from the first upload to the last answer; ``client_cpu`` seconds of this process.
    """

    latency: np.ndarray
    answers: list[bytes]
    seconds: float
    client_cpu: float


def post_request(host: str, path: str, body: bytes) -> bytes:
    """The bytes of a POST of JSON on a connection that stays open."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + _END + body


def closed_loop(address: tuple[str, int], requests: Callable[[int], bytes], uploads: int, connections: int) -> Load:
    """Each connection sends its next upload once the last is answered; latency counts from when an upload is sent.

    Raises InputError for an answer other than 200, or none; OSError where the service cannot be reached.
    """
    return asyncio.run(_loaded(address, requests, uploads, connections, None))


def open_loop(
    address: tuple[str, int], requests: Callable[[int], bytes], uploads: int, connections: int, rate: float
) -> Load:
    """``rate`` uploads a second, however slow the answers; latency counts from when an upload was due, the wait for a free
    connection with it. Raises as `closed_loop`.
    """
    return asyncio.run(_loaded(address, requests, uploads, connections, rate))


async def _loaded(
    address: tuple[str, int], requests: Callable[[int], bytes], uploads: int, connections: int, rate: float | None
) -> Load:
    links = [_Link(address) for _ in range(connections)]
    run = _Run(links, requests, uploads)
    try:
        for link in links:
            await link.open()
        gc.disable()  # a pause here would look like one of the service
        cpu, begin = time.process_time(), time.perf_counter()
        async with asyncio.timeout(_SECONDS + uploads):
            await (run.as_answered() if rate is None else run.as_due(begin, rate))
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    except (TimeoutError, BaseExceptionGroup) as error:  # of several connections the first tells enough
        raise _first(error) from None
    finally:
        gc.enable()
        for link in links:
            link.close()
    return Load(run.latency, run.answers, seconds, cpu)


def _first(error: BaseException) -> BaseException:
    """The first error of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return InputError("the service did not answer in time") if isinstance(error, TimeoutError) else error


class _Run:
    """The state of one load."""

    def __init__(self, links: "Sequence[_Link]", requests: Callable[[int], bytes], uploads: int) -> None:
        self.links, self.requests, self.uploads = links, requests, uploads
        self.latency, self.answers = np.zeros(uploads), [b""] * uploads

    async def as_answered(self) -> None:
        numbers = iter(range(self.uploads))

        async def one(link: "_Link") -> None:
            for number in numbers:
                await self._ask(link, number, time.perf_counter())

        async with asyncio.TaskGroup() as group:
            for link in self.links:
                group.create_task(one(link))

    async def as_due(self, begin: float, rate: float) -> None:
        due: deque[int] = deque()
        idle, arrived = list(self.links), itertools.count()

        async def work(link: "_Link") -> None:
            while due:
                number = due.popleft()
                await self._ask(link, number, begin + number / rate)
            idle.append(link)

        async with asyncio.TaskGroup() as group:
            for number in itertools.islice(arrived, self.uploads):
                wait = begin + number / rate - time.perf_counter()
                if wait > 0:
                    await asyncio.sleep(wait)
                due.append(number)
                if idle:
                    group.create_task(work(idle.pop()))

    async def _ask(self, link: "_Link", number: int, since: float) -> None:
        self.answers[number] = await link.ask(self.requests(number))
        self.latency[number] = time.perf_counter() - since


class _ClosedWhileIdle(Exception):
    """The service closed a connection after an answer, before it read the next request."""


class _Link(asyncio.Protocol):
    """One connection, one request at a time; made again where the service has closed it, as it does with idle ones.

    A request that meets a connection as it is closed gets no answer and is sent again: an upload is answered once.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._address, self._lost, self._answered = address, True, False
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._read, self._lost, self._answered = transport, bytearray(), False, False

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._read += data
        head = self._read.find(_END)
        if head < 0:
            return
        words = bytes(self._read[:head]).lower()
        length = int(words.partition(_LENGTH)[2].partition(b"\r\n")[0])
        if len(self._read) < head + len(_END) + length:
            return
        body = bytes(self._read[head + len(_END) :])
        self._read.clear()
        if self._answer is None or self._answer.done():
            return
        self._answered = True
        if words.split(None, 2)[1] == b"200":
            self._answer.set_result(body)
        else:
            self._answer.set_exception(InputError(f"the service answered {body[:200].decode(errors='replace')}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._lost = True
        if self._answer is not None and not self._answer.done():
            idle = self._answered and not self._read
            self._answer.set_exception(_ClosedWhileIdle() if idle else InputError("the service closed the connection"))

    async def open(self) -> None:
        """Connects. Raises OSError."""
        await asyncio.get_running_loop().create_connection(lambda: self, *self._address)

    async def ask(self, request: bytes) -> bytes:
        """The body of the answer. Raises InputError unless it is 200."""
        while True:
            if self._lost:
                await self.open()
            self._answer = asyncio.get_running_loop().create_future()
            self._transport.write(request)
            try:
                return await self._answer
            except _ClosedWhileIdle:  # never twice for one connection, as a new one has answered nothing
                continue

    def close(self) -> None:
        """Lets go of the connection."""
        self._answer = None
        if not self._lost:
            self._transport.close()
