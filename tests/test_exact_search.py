"""The exact search by tiles: the same users as a sort of all pairs gives, whatever the tiles; ties, masks, wrong scores."""

import numpy as np
import pytest
import torch

from dualrec.models import exact_search
from dualrec.models.exact_search import ExactSearch
from dualrec.solvers.candidate_source import CandidateSource, RowSource
from dualrec.solvers.price_rounds import PriceRounds, search_candidates

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def search_of(scores: np.ndarray, device: str = "cpu") -> ExactSearch:
    held = torch.from_numpy(scores).to(device)
    return ExactSearch(
        lambda items, first, last: held[torch.from_numpy(items).to(device), first:last], *scores.shape, device=device
    )


@pytest.fixture(params=[3, 64, 10_000])
def tile_users(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    users: int = request.param
    monkeypatch.setattr(exact_search, "BLOCK_ITEMS", 4)
    monkeypatch.setattr(exact_search, "TILE_BYTES", 16 * users)
    return users


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("levels", [0, 3])
def test_it_is_the_sorted_one(tile_users: int, levels: int, device: str) -> None:
    rng = np.random.default_rng(levels)
    scores = rng.normal(0.5, 1, (11, 150)).astype(np.float32)
    if levels:
        scores = np.ceil(levels * scores)
    price = np.where(rng.random(150) < 0.5, np.round(rng.random(150), 1), 0.0).astype(np.float32)
    available = rng.random(150) < 0.7
    items = rng.permutation(11)
    for count, mask in ((1, None), (7, available), (150, None), (200, available)):
        user, score = search_of(scores, device).best(items, price, count, mask)
        assert user.shape == score.shape == (11, count)
        for place, item in enumerate(items):
            net = scores[item] - price
            net = net if mask is None else np.where(mask, net, -1)
            order = [u for u in np.lexsort((np.arange(150), -net)) if net[u] > 0][:count]
            assert user[place].tolist() == order + [-1] * (count - len(order))
            assert score[place].tolist() == scores[item, order].tolist() + [0.0] * (count - len(order))


def test_the_search_over_all_pairs_takes_it_as_a_source() -> None:
    scores = np.random.default_rng(5).lognormal(0, 1, (30, 200)).astype(np.float32)
    source = search_of(scores)
    assert isinstance(source, CandidateSource)
    options = PriceRounds(first_candidates=20, price_candidates=20, rounds=8)
    ours = search_candidates(source, 10, np.full(200, 2), options)
    theirs = search_candidates(RowSource(lambda rows: scores[rows], 30, 200), 10, np.full(200, 2), options)
    assert ours.covers == "all pairs" and ours.recall is None
    assert ours.first_come.value == theirs.first_come.value
    assert ours.allocation.value == theirs.allocation.value and ours.bound_all_pairs == theirs.bound_all_pairs


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_named(tile_users: int, wrong: float) -> None:
    scores = np.ones((9, 100), np.float32)
    scores[6, 77] = wrong
    with pytest.raises(ValueError, match=f"item 6 and user 77 is {wrong}"):
        search_of(scores).best(np.arange(9), np.zeros(100), 5)


def test_no_items_and_too_many_users() -> None:
    user, score = search_of(np.ones((2, 3), np.float32)).best(np.empty(0, np.int64), np.zeros(3), 4)
    assert user.shape == score.shape == (0, 4)
    with pytest.raises(ValueError, match="fewer than"):
        ExactSearch(lambda items, first, last: torch.zeros(0), 1, 2**32)
