"""The heads' network: factors, fixed batches, planted tastes and qualities recovered, SA and EF, and its file."""

import functools
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from dualrec.alloc.errors import InputError
from dualrec.alloc.new_item_heads import NewItemHeads, spread_heads
from dualrec.alloc.serving_names import HEADS_FILE
from dualrec.alloc.tower_store import load_heads, load_towers, save_heads, save_towers
from dualrec.models.head_network import HeadNetwork, HeadShape, encode_items, encode_users
from dualrec.models.head_training import HeadRows, head_parts, head_rows, train_head_network
from dualrec.models.log import Log
from dualrec.models.metrics import auc
from dualrec.models.options import HeadOptions, TowerOptions
from dualrec.models.towers import Towers, TowerShape
from dualrec.models.traits import category_codes

USERS, ITEMS, TOKENS, DAYS, HELD_OUT = 60, 60, 6, 16, 12
HEADS = ("like", "share", "never")
OPTIONS = HeadOptions(dim=8, epochs=3, batch=128, learning_rate=0.01)


def planted(taste: float, quality: float, seed: int = 0, count: int = 8000) -> Log:
    """Who likes what: users of one half of the categories those items, and everybody the items of good quality.

    All users and all categories are alike otherwise, and nothing that is known of an item beforehand says how good it is.
    """
    generator = np.random.default_rng(seed)
    user, item = generator.integers(0, USERS, count), generator.integers(0, ITEMS, count)
    token = np.arange(ITEMS) % TOKENS
    good = (np.arange(ITEMS) // TOKENS) % 2
    logit = -0.5 + taste * np.where(user % 2 == token[item] % 2, 1, -1) + quality * np.where(good[item], 1, -1)
    liked = generator.random(count) < 1 / (1 + np.exp(-logit))
    return Log(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        day=np.sort(generator.uniform(0, DAYS, count)),
        kinds={"like": liked, "share": liked & (generator.random(count) < 0.2), "never": np.zeros(count, bool)},
        users=USERS,
        items=ITEMS,
        upload=np.zeros(ITEMS),
        token=token.astype(np.int32),
        tokens=TOKENS,
        content=np.zeros((ITEMS, 0), np.float32),
    )


@functools.cache
def rows_of(taste: float, quality: float, count: int = 8000) -> tuple[HeadRows, HeadRows]:
    """To learn from, and held out."""
    log = planted(taste, quality, count=count)
    (train, held), _ = head_rows(log, HEADS, log.token, ((0, HELD_OUT - 1), (HELD_OUT, DAYS)), 10**6)
    return train, held


def trained(taste: float, quality: float, seed: int = 1, **given: Any) -> tuple[HeadNetwork, list[float]]:
    return train_head_network(rows_of(taste, quality)[0], options_with(**given), ITEMS, seed)


def options_with(**given: Any) -> HeadOptions:
    return HeadOptions(**{**OPTIONS.model_dump(), **given})


def held_logits(network: HeadNetwork, held: HeadRows) -> np.ndarray:
    product, of_user, of_item = head_parts(network, held)
    return product[:, None] * network.weight.detach().numpy() + of_user + of_item


def untrained(seed: int = 0, **widths: int) -> HeadNetwork:
    """With inputs on their own scales and a weight of each head's own."""
    torch.manual_seed(seed)
    network = HeadNetwork(HeadShape(**{"user": 5, "item": 4, "met": 3, "heads": 2, "dim": 6, "ids": 0, **widths}))
    generator = np.random.default_rng(seed)
    for name in ("user", "item", "met"):
        width = getattr(network.shape, name)
        network.standardise(name, (3 + 7 * generator.normal(size=(50, width))).astype(np.float32))
    with torch.no_grad():
        network.weight.copy_(torch.arange(1.0, network.shape.heads + 1))
    return network


def inputs_for(network: HeadNetwork, count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator, shape = np.random.default_rng(seed), network.shape
    user, item, met = (10 * generator.normal(size=(count, width)) for width in (shape.user, shape.item, shape.met))
    return user.astype(np.float32), item.astype(np.float32), met.astype(np.float32)


# Factors


@pytest.mark.parametrize("widths", [{}, {"met": 0}, {"ids": 9}, {"heads": 1, "dim": 1}])
def test_logits_are_the_product_and_both_biases(widths: dict[str, int]) -> None:
    network = untrained(**widths)
    user, item, met = inputs_for(network, 20)
    taste, of_user = encode_users(network, user)
    appeal, of_item = encode_items(network, item, met)
    assert taste.shape == appeal.shape == (20, network.shape.dim)
    assert of_user.shape == of_item.shape == (20, network.shape.heads)
    assert {part.dtype for part in (taste, of_user, appeal, of_item)} == {np.dtype(np.float32)}
    weight = network.weight.detach().numpy()
    with torch.no_grad():
        for shift in range(3):
            sides = np.roll(item, -shift, 0), np.roll(met, -shift, 0)
            encoded = network.items(*map(torch.from_numpy, sides))
            found = network.logits(network.users(torch.from_numpy(user)), encoded).numpy()
            for row in range(20):
                other = (row + shift) % 20
                expected = weight * (taste[row] @ appeal[other]) + of_user[row] + of_item[other]
                np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-4)


def test_batches_are_fixed_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is asked first, a row's batch is of its place; threads do not matter, and are as before afterwards."""
    network = untrained(ids=4)
    user, item, met = inputs_for(network, 40)
    whole = (*encode_users(network, user), *encode_items(network, item, met))
    monkeypatch.setattr("dualrec.models.head_network._BATCH", 16)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        parts = (*encode_users(network, user), *encode_items(network, item, met))
        first = (*encode_users(network, user[:32]), *encode_items(network, item[:32], met[:32]))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    for one, two, some in zip(whole, parts, first, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)
        assert some.tobytes() == two[:32].tobytes()


@pytest.mark.parametrize("met", [0, 3])
def test_nobody_has_no_vectors(met: int) -> None:
    network = untrained(met=met)
    user, item, who = (values[:0] for values in inputs_for(network, 1))
    assert [part.shape for part in encode_users(network, user)] == [(0, 6), (0, 2)]
    for known in (None, who):
        assert [part.shape for part in encode_items(network, item, known)] == [(0, 6), (0, 2)]


def test_an_item_that_nobody_met_is_one_of_which_nothing_came() -> None:
    network = untrained()
    _, item, met = inputs_for(network, 10)
    for one, two in zip(encode_items(network, item), encode_items(network, item, 0 * met), strict=True):
        assert one.tobytes() == two.tobytes()


# What is learnt


def test_a_planted_taste_is_recovered() -> None:
    network, losses = trained(1.5, 0.0)
    held = rows_of(1.5, 0.0)[1]
    liked = held.outcomes[:, 0] > 0
    product, of_user, of_item = head_parts(network, held)
    assert auc(liked, of_user[:, 0] + of_item[:, 0]) < 0.6, "each side alone says nothing"
    assert auc(liked, product) > 0.8
    assert auc(held.outcomes[:, 1] > 0, product) > 0.65, "the heads share it"
    assert len(losses) == OPTIONS.epochs and losses[-1] < losses[0]
    logits = held_logits(network, held)
    assert (1 / (1 + np.exp(-logits))).mean(0) == pytest.approx(held.outcomes.mean(0), abs=0.05)


def test_what_came_of_an_item_says_how_good_it_is_with_ef_alone() -> None:
    held = rows_of(0.0, 1.0)[1]
    liked = held.outcomes[:, 0] > 0
    found = {ef: auc(liked, held_logits(trained(0.0, 1.0, ef=ef)[0], held)[:, 0]) for ef in (False, True)}
    assert found[True] > 0.65 and found[False] < 0.55


def test_a_head_that_never_happened_is_small_and_finite() -> None:
    logits = held_logits(trained(1.5, 0.0)[0], rows_of(1.5, 0.0)[1])
    assert np.isfinite(logits).all()
    assert logits[:, 2].max() < -4


def test_nothing_to_learn_from_is_said() -> None:
    log = planted(1.0, 0.0, count=10)
    (nothing,), _ = head_rows(log, HEADS, log.token, ((DAYS + 1, DAYS + 2),), 100)
    with pytest.raises(ValueError, match="no interaction to learn the heads from"):
        train_head_network(nothing, OPTIONS, ITEMS, 1)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_few_rows_are_enough_to_be_finite(count: int) -> None:
    train = rows_of(1.5, 0.0)[0]
    few = replace(train, user=train.user[:count], item=train.item[:count], outcomes=train.outcomes[:count])
    shares: list[float] = []
    network, losses = train_head_network(few, options_with(batch=2, epochs=2), ITEMS, 1, shares.append)
    assert np.isfinite(losses).all() and sum(shares) == pytest.approx(1)
    assert np.isfinite(held_logits(network, rows_of(1.5, 0.0)[1])).all()


def weights_of(network: HeadNetwork) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in network.state_dict().items()}


def test_weights_depend_on_the_seed_alone() -> None:
    short = {"epochs": 1, "item_id": True}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        once = trained(1.5, 0.0, 1, **short)
        torch.set_num_threads(2)
        torch.manual_seed(99)
        state = torch.get_rng_state()
        again = trained(1.5, 0.0, 1, **short)
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state), "the caller's random numbers are left alone"
        other = trained(1.5, 0.0, 2, **short)
    finally:
        torch.set_num_threads(threads)
    one, two, three = (weights_of(each[0]) for each in (once, again, other))
    assert once[1] == again[1]
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)
    assert any((one[name] != three[name]).any() for name in one)


# SA


def test_an_items_own_embedding_is_learnt_and_dropped() -> None:
    network = trained(0.0, 1.0, item_id=True, ef=False)[0]
    assert network.shape.ids == ITEMS and network.shape.met == 0 and network.identity is not None
    train, held = rows_of(0.0, 1.0)
    learnt = network.identity.weight.detach().abs().sum(1).numpy() > 0
    assert learnt.all() and len(np.unique(train.ids)) == ITEMS
    parts, encoded = head_parts(network, held), encode_items(network, held.items)
    with torch.no_grad():
        known, nothing = torch.from_numpy(held.items), torch.zeros(len(held.items), 0)
        with_id = network.items(known, nothing, torch.from_numpy(held.ids))[1].numpy()
        network.identity.weight.fill_(1e3)
    for one, two in zip(
        (*parts, *encoded), (*head_parts(network, held), *encode_items(network, held.items)), strict=True
    ):
        assert one.tobytes() == two.tobytes()
    liked = held.outcomes[:, 0] > 0
    assert auc(liked, with_id[held.item, 0]) > 0.65 and auc(liked, encoded[1][held.item, 0]) < 0.55


def test_items_that_were_never_met_keep_an_embedding_of_zeros() -> None:
    network = train_head_network(rows_of(0.0, 1.0)[0], options_with(item_id=True, epochs=1), ITEMS + 3, 1)[0]
    assert network.identity is not None and network.identity.weight.shape[0] == ITEMS + 3
    assert not network.identity.weight[ITEMS:].any()


def test_sa_learns_better_what_is_left_without_the_embedding() -> None:
    """Quality is known by the item's own embedding and by what came of it: without SA the first explains much of it."""
    held = rows_of(0.0, 1.0)[1]
    liked, loss = held.outcomes[:, 0] > 0, {}
    for sa in (False, True):
        logit = held_logits(trained(0.0, 1.0, item_id=True, sa=sa)[0], held)[:, 0]
        loss[sa] = float(np.mean(np.logaddexp(0, np.where(liked, -logit, logit))))
    assert loss[True] < loss[False]


def test_sa_without_an_id_to_drop_is_refused() -> None:
    with pytest.raises(ValueError, match="expected item_id too"):
        HeadOptions(sa=True)


# Items that come later


def test_new_items_are_encoded_by_content_or_category_and_group() -> None:
    network = untrained(item=5, met=4, heads=2)
    group = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    content, token = np.ones((3, 2), np.float32), np.array([0, 1, -1])
    for codes, traits in ((None, content), (category_codes(2), np.array([[1, 0], [0, 1], [0, 0]], np.float32))):
        appeal, item_part = NewItemHeads(network, [2, 0], 4, codes).parts(token, content, group)
        expected = encode_items(network, np.concatenate([traits, group], 1))
        assert appeal.tobytes() == expected[0].tobytes()
        assert (item_part[:, [2, 0]] == expected[1]).all() and not item_part[:, [1, 3]].any()
    assert spread_heads(np.zeros((0, 1), np.float32), [1], 3).shape == (0, 3)


# Files


def test_saved_heads_load_bit_for_bit(tmp_path: Path) -> None:
    network, held = trained(1.5, 0.0, item_id=True, sa=True, epochs=1)[0], rows_of(1.5, 0.0)[1]
    save_heads(tmp_path, network, OPTIONS, "abc")
    first = (tmp_path / HEADS_FILE).read_bytes()
    save_heads(tmp_path, network, OPTIONS, "abc")
    assert (tmp_path / HEADS_FILE).read_bytes() == first, "the same bytes"
    loaded = load_heads(tmp_path, "abc")
    assert loaded.shape == network.shape and not loaded.training
    assert not any(value.requires_grad for value in loaded.parameters())
    before, after = (
        (*encode_users(each, held.users), *encode_items(each, held.items, held.met), *head_parts(each, held))
        for each in (network, loaded)
    )
    assert all(one.tobytes() == two.tobytes() for one, two in zip(before, after, strict=True))
    assert (loaded.weight == network.weight).all()
    assert refusal(tmp_path, "abd").endswith("expected abd); train anew on these data")


def refusal(folder: Path, vocabulary: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        load_heads(folder, vocabulary)
    message = str(caught.value)
    assert "\n" not in message and HEADS_FILE in message
    return message


class Payload:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (open, (str(self.mark), "w"))


def test_damaged_and_foreign_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith("does not exist")
    path, mark, network = tmp_path / HEADS_FILE, tmp_path / "mark", untrained(ids=3)
    save_heads(tmp_path, network, OPTIONS, "abc")
    good = path.read_bytes()
    torch.save({"shape": Payload(mark)}, tmp_path / "pickled")
    for bad in (
        b"",
        good[:40],
        good[:-5],
        good[:-9] + bytes([good[-9] ^ 1]) + good[-8:],
        good.replace(b'heads\\": 2', b'heads\\": 3'),
        good.replace(b'ids\\": 3', b'ids\\": 0'),
        good.replace(b'ids\\": 3', b'ids\\": x'),
        pickle.dumps(Payload(mark)),
        (tmp_path / "pickled").read_bytes(),
    ):
        assert bad != good
        path.write_bytes(bad)
        assert "is not a file of weights of the heads" in refusal(tmp_path)
    assert not mark.exists(), "no code of the file was run"
    for metadata in (None, {"shape": json.dumps({"user": 1, "layers": 2})}, {"shape": "[]"}, {}):
        save_file({"weight": np.zeros(2, np.float32)}, path, metadata)
        assert "is not a file of weights of the heads" in refusal(tmp_path)


def test_towers_are_no_heads_and_heads_no_towers(tmp_path: Path) -> None:
    towers = Towers(TowerShape(tokens=3, content=0, half_lives=2, user_dense=2, user_codes=1, item_dense=5, dim=4))
    save_towers(tmp_path, towers, TowerOptions(), "abc")
    (tmp_path / "towers.safetensors").rename(tmp_path / HEADS_FILE)
    assert "is not a file of weights of the heads" in refusal(tmp_path)
    save_heads(tmp_path, untrained(), OPTIONS, "abc")
    (tmp_path / HEADS_FILE).rename(tmp_path / "towers.safetensors")
    with pytest.raises(InputError, match="not a file of tower weights"):
        load_towers(tmp_path)
