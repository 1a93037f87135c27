"""One piece of work at a time for a stream, off the event loop; uploads that wait are allocated together."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from .match_store import Answer
from .nights import Nights
from .stream import Stream, Upload

MOST_TOGETHER = 64
"""Uploads of one flush; more would keep the first of them waiting for the last."""


class StoreQueue:
    """Works in the order of arrival. What has begun ends, whether or not the one who asked still waits.

    While one flush is on its way to disk, new uploads gather for the next: a disk that flushes 250 times a second is no
    limit to their number. Each is answered only once its own flush is done.
    """

    def __init__(self, stream: Stream | Nights, clock: Callable[[], float]) -> None:
        self._stream, self._clock, self._turn = stream, clock, asyncio.Lock()
        self._waiting: deque[tuple[Upload, asyncio.Future[Answer]]] = deque()
        self._work: asyncio.Task[None] | None = None

    async def allocate(self, upload: Upload) -> Answer:
        """`Stream.allocate` now."""
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((upload, done))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._allocate_waiting())
        return await done

    async def run(self, work: Callable[..., Any], *values: Any) -> Any:
        """What `work` returns, or raises, of the values and the time in ms."""
        return await asyncio.shield(asyncio.create_task(self._run(work, *values)))

    async def _run(self, work: Callable[..., Any], *values: Any) -> Any:
        async with self._turn:
            return await asyncio.to_thread(work, *values, int(1000 * self._clock()))

    async def _allocate_waiting(self) -> None:
        while self._waiting:
            async with self._turn:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]
                answers = await asyncio.to_thread(self._allocated, [upload for upload, _ in batch])
            for (_, done), answer in zip(batch, answers, strict=True):
                if done.done():  # whoever asked is gone
                    continue
                if isinstance(answer, Exception):
                    done.set_exception(answer)
                else:
                    done.set_result(answer)

    def _allocated(self, uploads: list[Upload]) -> list[Answer | Exception]:
        try:
            return self._stream.allocate_many(uploads, int(1000 * self._clock()))
        except Exception as error:
            return [error] * len(uploads)
