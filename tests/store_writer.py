"""A process that writes to a store of matches until it is killed; also a script.

    python store_writer.py STORE LOG SEED DAY USERS ITEMS   one writer
    python store_writer.py STORE DAY USERS ITEMS            a writer for each line `SEED LOG` of stdin, forked at once

STORE is a path (`SqliteStore`) or an address redis://... (`RedisStore`) where DAY is open for USERS users. Each
acknowledged answer becomes a line of LOG, as `store_history.py` reads it. Each error of the store becomes a line of the
file LOG.errors, and the request is made again. The second form prints the process id of each writer; the writers end
with it.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np

from dualrec.alloc.match_store import Answer, MatchStore, Request, StoreError

CANDIDATES = 40
MOST_DEMAND = 8
TOP_UPS = 0.2
PAUSE = 0.02
Opens = Callable[[str], MatchStore]
Result = TypeVar("Result")


def open_store(where: str) -> MatchStore:
    """The store at a path or at an address redis://..."""
    if where.startswith("redis://"):
        from dualrec.alloc.redis_store import RedisStore

        return RedisStore(where)
    from dualrec.alloc.sqlite_store import SqliteStore

    return SqliteStore(where)


def asked(rng: np.random.Generator, users: int, items: int) -> Request:
    """A random request: low items come again and again, low users fill first; now and then a top-up."""
    user = np.unique((users * rng.random(CANDIDATES) ** 2).astype(np.int64))
    rng.shuffle(user)
    score = rng.normal(size=len(user)).astype(np.float32)
    item, part = f"item {int(items * rng.random() ** 2)}", int(rng.random() < TOP_UPS)
    return Request(item, user, score, int(rng.integers(0, MOST_DEMAND + 1)), time.time_ns() // 1_000_000, part)


def log_line(answer: Answer) -> bytes:
    """What a writer notes of an acknowledged answer."""
    fields = {"item": answer.item, "part": answer.part, "day": answer.day, "repeated": answer.repeated}
    lists = {"users": answer.user.tolist(), "scores": answer.score.tolist()}
    return json.dumps(fields | lists).encode() + b"\n"


def insist(call: Callable[[], Result], errors: int, parent: int) -> Result:
    """The result of a call, made again after each error of the store, as long as the parent process lives.

    `errors`: the file that errors are written to.
    """
    while os.getppid() == parent:
        try:
            return call()
        except StoreError as error:
            os.write(errors, f"{error}\n".encode())
            time.sleep(PAUSE)
    raise SystemExit("whoever started this writer is gone")


def write(opens: Opens, where: str, log: Path, seed: int, *sizes: int) -> NoReturn:
    """Make requests and log the answers, until killed; `sizes`: the day, users and items."""
    (day, users, items), parent, rng = sizes, os.getppid(), np.random.default_rng(seed)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    answers, errors = os.open(log, append), os.open(log.with_suffix(".errors"), append)
    try:
        store = insist(lambda: opens(where), errors, parent)
        while True:
            request = asked(rng, users, items)
            answer = insist(lambda: store.reserve(day, request), errors, parent)  # noqa: B023 (called at once)
            os.write(answers, log_line(answer))
    except BaseException:
        os.write(errors, traceback.format_exc().encode())
        raise


def fork_writers(opens: Opens, where: str, *sizes: int) -> None:
    """A writer for each line of stdin; forked, because to load Python and NumPy takes longer than most writers live."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead go at once, so that a process id says who lives
    opens(where).close()  # loads the back end
    for line in sys.stdin:
        seed, log = line.rstrip("\n").split(" ", 1)
        child = os.fork()
        if child == 0:
            write(opens, where, Path(log), int(seed), *sizes)
        print(child, flush=True)


def main(opens: Opens = open_store) -> None:
    """One writer, or as many as stdin asks for."""
    where, *rest = sys.argv[1:]
    if len(rest) == 5:
        write(opens, where, Path(rest[0]), *map(int, rest[1:]))
    fork_writers(opens, where, *map(int, rest))


if __name__ == "__main__":
    main()
