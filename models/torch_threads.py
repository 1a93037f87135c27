"""Torch on one thread: sums in one order, whatever the machine, and no second pool of threads inside another."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread within. Not for several threads at once."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def each_on_one_thread(work: Callable[P, R]) -> Callable[P, R]:
    """The function with torch on one thread, and so left, in whichever thread calls it: for pools of threads.

    The number is each thread's own, so that setting it before a pool starts does not reach the pool's threads, and every
    product of theirs would run on all cores.
    """

    @wraps(work)
    def alone(*args: P.args, **given: P.kwargs) -> R:
        torch.set_num_threads(1)
        return work(*args, **given)

    return alone
