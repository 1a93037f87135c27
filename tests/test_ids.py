"""Ids become rows the same way whether they are dense integers, sparse integers or strings."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualrec.solvers import id_table
from dualrec.solvers.errors import ProblemError
from dualrec.solvers.id_table import IdTable
from dualrec.solvers.ids import id_rows, known_rows

KINDS: dict[str, Any] = {
    "dense": lambda n: n - 7,
    "sparse": lambda n: (n - 7) * 10**15,
    "extreme": lambda n: (-(2**63), 2**63 - 1)[n % 2] + (n // 2) * (1, -1)[n % 2],
    "strings": lambda n: f"id {n}",
}
numbers = st.lists(st.integers(0, 20), max_size=40)
kinds = st.sampled_from(list(KINDS))


@given(column=numbers, kind=kinds)
def test_rows_by_first_appearance(column: list[int], kind: str) -> None:
    ids = [KINDS[kind](n) for n in column]
    found = id_rows(ids, "item", None)
    distinct = list(dict.fromkeys(ids))
    assert found.ids.tolist() == distinct
    assert found.rows.tolist() == [distinct.index(one) for one in ids]


@given(column=numbers, known=st.lists(st.integers(0, 20), unique=True), kind=kinds)
def test_rows_among_known_ids(column: list[int], known: list[int], kind: str) -> None:
    ids, have = [KINDS[kind](n) for n in column], [KINDS[kind](n) for n in known]
    expected = [have.index(one) if one in have else -1 for one in ids]
    if have:
        assert known_rows(ids, "item", np.array(have), len(have)).tolist() == expected
    if -1 in expected:
        with pytest.raises(ProblemError, match=f"edge {expected.index(-1)} names item {ids[expected.index(-1)]!r}"):
            id_rows(ids, "item", have)
    else:
        assert id_rows(ids, "item", have).rows.tolist() == expected


def test_rows_are_the_ids_where_there_are_none() -> None:
    assert known_rows([2, 0, 3, -1], "item", None, 3).tolist() == [2, 0, -1, -1]
    with pytest.raises(ProblemError, match="item ids are strings but the problem's are integers"):
        known_rows(["2"], "item", None, 3)


def test_columns_of_python_objects() -> None:
    assert id_rows(np.array([3, -1], object), "item", None).ids.tolist() == [3, -1]
    assert id_rows(np.array(["b", "a"], object), "item", None).ids.tolist() == ["b", "a"]
    for column, message in (
        (np.array([1, None], object), "id None at position 1 is NoneType, expected integers like the ids before it"),
        (["a", 1], "id 1 at position 1 is int, expected strings like the ids before it"),
        (np.array([1.5], object), r"id 1\.5 at position 0 is float, expected strings or integers"),
        ([2**70], "does not fit into 64 signed bits"),
        ([[1], [1, 2]], "ids cannot be read"),
    ):
        with pytest.raises(ProblemError, match=message):
            id_rows(column, "item", None)


@given(batches=st.lists(numbers, max_size=6), kind=kinds, settle_at=st.integers(1, 30))
def test_a_table_counts_ids_over_batches(batches: list[list[int]], kind: str, settle_at: int) -> None:
    every = [KINDS[kind](n) for column in batches for n in column]
    distinct = list(dict.fromkeys(every))
    for known in (None, distinct[::-1]):
        table = IdTable("item", known)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(id_table, "SETTLE_AT", settle_at)
            for column in batches:
                part = id_rows([KINDS[kind](n) for n in column], "item", None)
                table.add(part.ids, np.bincount(part.rows, minlength=part.ids.size))
            table.settle()
        assert table.ids.tolist() == (distinct if known is None else known)
        assert table.count.tolist() == [every.count(one) for one in table.ids.tolist()]
        if distinct:
            assert table.rows(np.array(distinct)).tolist() == [table.ids.tolist().index(one) for one in distinct]


def test_a_table_refuses_what_it_does_not_know() -> None:
    table = IdTable("user", ["a", "b"])
    with pytest.raises(ProblemError, match="user 'c' is not among the 2 user_ids"):
        table.add(np.array(["a", "c"]), np.array([1, 1]))
    with pytest.raises(ProblemError, match="user ids are both 'a' and 3"):
        table.add(np.array([3]), np.array([1]))
