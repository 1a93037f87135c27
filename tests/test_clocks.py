"""Processes on one store whose clocks differ and jump over midnight, forward and back: no day is given out twice."""

import contextlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.alloc.stream import Stream, Upload
from dualrec.alloc.stream_lines import open_store
from dualrec.alloc.tables import DAY_MS

FIRST, USERS, PLACES = 1_000, [10, 20, 30, 40], 2
MIDNIGHT = FIRST * DAY_MS
STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),  # whose upload
        st.sampled_from("abcdefghijkl"),
        st.integers(0, 1),  # part
        st.lists(st.sampled_from(USERS), min_size=1, unique=True),
        st.integers(1, 4),
        st.sampled_from([0, 0, 1, -1, 60_000, -60_000, DAY_MS // 2, -DAY_MS // 2, DAY_MS, -DAY_MS, 3 * DAY_MS]),
    ),
    max_size=40,
)
Steps = list[tuple[int, str, int, list[int], int, int]]


def check_days(where: str, stream_processes: ModuleType, steps: Steps) -> None:
    """Three streams, each with a clock of its own that jumps before each upload."""
    clocks, told = [MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + DAY_MS // 2], {}
    prices = stream_processes.prices_of(USERS, PLACES)
    with contextlib.ExitStack() as stack:
        streams = [Stream(prices, stack.enter_context(contextlib.closing(open_store(where)))) for _ in clocks]
        for who, item, part, users, demand, jump in steps:
            clocks[who] += jump
            score = [1 / (1 + place) for place in range(len(users))]
            answer = streams[who].allocate(Upload(item, users, score, demand, part=part), clocks[who])
            known = told.setdefault((item, part), (answer.day, answer.user.tolist()))
            assert known == (answer.day, answer.user.tolist()), "an item has one answer, of one day"
            if not answer.repeated:
                assert answer.day == streams[who].day >= prices.day(clocks[who])
        fresh = stack.enter_context(contextlib.closing(open_store(where)))
        for day in {day for day, _ in told.values()}:
            expected = np.zeros(len(USERS), np.int64)
            for (item, part), (given_on, rows) in told.items():
                kept = fresh.answer(item, part)
                assert kept is not None and (kept.day, kept.user.tolist()) == (given_on, rows), "nothing is lost"
                if given_on == day:
                    expected[rows] += 1
            assert (expected <= PLACES).all()
            assert fresh.left(day).tolist() == (PLACES - expected).tolist()


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_clocks_that_jump_on_sqlite(
    stream_processes: ModuleType, tmp_path_factory: pytest.TempPathFactory, steps: Steps
) -> None:
    check_days(str(tmp_path_factory.mktemp("clocks") / "m.db"), stream_processes, steps)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_clocks_that_jump_on_redis(stream_processes: ModuleType, redis_server: str, steps: Steps) -> None:
    with contextlib.closing(redis.Redis.from_url(redis_server)) as client:
        client.delete("dualrec")
    check_days(redis_server, stream_processes, steps)


def test_one_clock_ahead_of_midnight_and_one_behind(stream_processes: ModuleType, tmp_path: Path) -> None:
    """Each day's places are given once, whichever of the two processes gives them."""
    prices, where = stream_processes.prices_of([10], 2), str(tmp_path / "m.db")
    with contextlib.closing(open_store(where)) as one, contextlib.closing(open_store(where)) as two:
        behind, ahead = Stream(prices, one), Stream(prices, two)
        got = [
            stream.names(stream.allocate(Upload(f"{number} {stream is ahead}", [10], [1.0], 1), at))
            for number in range(3)
            for stream, at in ((behind, MIDNIGHT - 5), (ahead, MIDNIGHT + 5))
        ]
        assert got == [[10], [10], [10], [10], [], []]
        assert behind.names(behind.allocate(Upload("late", [10], [1.0], 1), MIDNIGHT + 6)) == []
        assert [one.left(FIRST - 1).tolist(), one.left(FIRST).tolist()] == [[0], [0]]
