"""Messages between the workers of the distributed auction, and its kernels beside their twins."""

import heapq
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.block_auction import user_shards
from dualrec.solvers.block_state import Rows
from dualrec.solvers.distributed.kernels import Keys, Places, edge_of, keys_of, place_of, take_bids
from dualrec.solvers.distributed.messages import FolderMessages, MemoryMessages, Messages
from dualrec.solvers.errors import SolverError

seeds = st.integers(0, 2**32 - 1)


# --- messages


@pytest.fixture(params=["folder", "memory"])
def messages(request: pytest.FixtureRequest, tmp_path: Path) -> Messages:
    return FolderMessages(tmp_path) if request.param == "folder" else MemoryMessages()


def test_messages_are_kept_as_they_are(messages: Messages) -> None:
    arrays = np.arange(5, dtype=np.uint32), np.zeros(0, np.int64), np.array([2**63], np.uint64)
    assert not messages.has("a")
    assert messages.put("a", *arrays)
    assert messages.has("a")
    for number, given_one in enumerate(arrays):
        kept = messages.get("a").part(number)
        assert kept.dtype == given_one.dtype and np.array_equal(kept, given_one)
    assert messages.wait("a").part(0, 1, 4).tolist() == [1, 2, 3]


def test_the_first_message_of_a_name_stays(messages: Messages, tmp_path: Path) -> None:
    assert messages.put("a", np.array([1], np.int32))
    assert not messages.put("a", np.array([2], np.int32))
    assert messages.get("a").part(0).tolist() == [1]
    assert [path.name for path in tmp_path.iterdir() if path.name != "a"] == []


def test_a_message_that_is_not_there(messages: Messages, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        messages.get("b")
    monkeypatch.setattr("dualrec.solvers.distributed.messages.PATIENCE", 0.05)
    with pytest.raises(SolverError, match="no worker wrote b, waited for up to 0 seconds"):
        messages.wait("b")


def test_a_message_that_comes_later(messages: Messages) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(messages.wait, "a")
        messages.put("a", np.array([7], np.int64))
        assert waiting.result(timeout=10).part(0).tolist() == [7]


def test_messages_of_a_step_are_forgotten(tmp_path: Path) -> None:
    for messages in (FolderMessages(tmp_path), MemoryMessages()):
        for name in ("a-1", "a-2", "ab-1", "degree"):
            messages.put(name, np.zeros(1, np.int64))
        messages.forget("a")
        assert [messages.has(name) for name in ("a-1", "a-2", "ab-1", "degree")] == [False, False, True, True]


# --- kernels and their twins


def bids_twin(capacity: list[int], bids: list[tuple[int, int, float, float]]) -> tuple[list[list[Any]], list[Any]]:
    """What users hold after bids (user, item, bid, dear) came one by one, and who lost to whom."""
    held: list[list[tuple[float, int]]] = [[] for _ in capacity]
    lost = []
    for user, item, bid, dear in bids:
        if len(held[user]) < capacity[user]:
            heapq.heappush(held[user], (bid, item))
        elif dear > held[user][0][0]:
            lost.append((heapq.heapreplace(held[user], (dear, item))[1], user))
        else:
            lost.append((item, user))
    return held, lost


@settings(max_examples=60, deadline=None)
@given(seed=seeds, first=st.sampled_from([0, 5]), parts=st.integers(1, 3))
def test_users_keep_their_best_bids(seed: int, first: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    capacity = rng.integers(1, 5, 6)
    many = int(rng.integers(0, 60))
    user, item = rng.integers(0, 6, many), rng.permutation(1000)[:many]
    bid = rng.integers(1, 8, many).astype(np.float32)
    dear = bid + rng.integers(0, 2, many).astype(np.float32)
    places = Places(
        slot_start=np.append(0, np.cumsum(capacity)),
        slot_count=np.zeros(6, np.int32),
        slot=np.zeros(int(capacity.sum()), np.uint64),
        price_bits=np.zeros(6, np.uint32),
        told=np.zeros(6, np.uint8),
    )
    lost, changed, counts = np.zeros(many, np.uint64), np.zeros(many, np.uint32), np.zeros(2, np.int64)
    for rows in np.array_split(np.arange(many), parts):
        columns = ((user + first).astype(np.uint32), item.astype(np.uint32), bid.view(np.uint32), dear.view(np.uint32))
        take_bids(places, first, *(column[rows] for column in columns), lost, changed, counts)
    held, losers = bids_twin(capacity.tolist(), list(zip(*(c.tolist() for c in (user, item, bid, dear)), strict=True)))
    mine = [(int(one) >> 32, (int(one) & 0xFFFFFFFF) - first) for one in lost[: counts[0]]]
    assert mine == losers
    for row, bids in enumerate(held):
        begin = places.slot_start[row]
        slots = places.slot[begin : begin + places.slot_count[row]]
        assert sorted((np.uint32(s >> 32).view(np.float32).item(), int(s) & 0xFFFFFFFF) for s in slots) == sorted(bids)
        full = len(bids) == capacity[row]
        assert places.price_bits.view(np.float32)[row] == (min(bids)[0] if full else 0.0)
        assert (row + first in changed[: counts[1]]) == full
    assert len(set(changed[: counts[1]].tolist())) == counts[1]


@settings(max_examples=40, deadline=None)
@given(seed=seeds, size=st.integers(1, 40), before=st.integers(0, 5))
def test_places_in_a_row(seed: int, size: int, before: int) -> None:
    row = np.sort(np.random.default_rng(seed).choice(2**32 - 1, size, replace=False)).astype(np.uint32)
    row = np.concatenate([np.zeros(before, np.uint32), row])
    assert [place_of(row, before, row.size, user) for user in row[before:]] == list(range(size))


@settings(max_examples=40, deadline=None)
@given(seed=seeds, items=st.integers(1, 20), bits=st.sampled_from([0, 1, 2, 10]))
def test_keys_of_edges(seed: int, items: int, bits: int) -> None:
    """A key and the user lead back to the edge, also where the key has few bits for the place; keys ascend as edges do."""
    rng = np.random.default_rng(seed)
    indptr = np.append(0, np.cumsum(rng.integers(0, 9, items)))
    chosen = np.flatnonzero((rng.random(items) < 0.6) & (np.diff(indptr) > 0)).astype(np.int32)
    user = np.concatenate([np.sort(rng.choice(30, n, replace=False)) for n in np.diff(indptr)]).astype(np.uint32)
    edges = [np.concatenate([np.arange(indptr[i], indptr[i + 1]) for i in chosen] or [np.zeros(0, int)])] * 3
    edges = [part[rng.random(part.size) < 0.5] for part in edges]
    cut, edge = np.append(0, np.cumsum([part.size for part in edges])), np.concatenate(edges).astype(np.uint32)
    keys, out = Keys(min(bits, 4), max(0, 4 - bits)), np.zeros(edge.size, np.uint32)
    keys_of(indptr, edge, cut, chosen, keys, 7, out)
    assert (np.diff(out[: cut[1]].astype(int)) >= 0).all()
    rows = Rows(indptr, user, np.zeros(user.size, np.float32), np.zeros(items, np.int32))
    for one, key in zip(edge.tolist(), out, strict=True):
        item, place = edge_of(rows, keys, 7, key, user[one])
        assert indptr[item] + place == one < indptr[item + 1]


@pytest.mark.parametrize(
    ("items", "longest", "bits", "shift"),
    [(1, 1, 0, 0), (50_000, 1000, 10, 0), (4_000_000, 1000, 10, 0), (2**27, 1000, 5, 5), (2**32 - 1, 1000, 0, 10)],
)
def test_keys_have_room_for_the_items(items: int, longest: int, bits: int, shift: int) -> None:
    assert Keys.for_size(items, longest) == (bits, shift)


def test_shards_of_users_are_in_order() -> None:
    work = np.random.default_rng(0).integers(0, 9, 10_000)
    assert (np.diff(user_shards(work).astype(int)) >= 0).all()
