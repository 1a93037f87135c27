"""Two towers on a checkerboard: users who only like items of their own group must be ranked first for such items."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.numpy import save_file

from dualrec.alloc.errors import InputError
from dualrec.alloc.tower_store import FILE, load_towers, save_towers
from dualrec.models.history import audience, user_history
from dualrec.models.log import Log
from dualrec.models.options import TowerOptions
from dualrec.models.tastes import first_users
from dualrec.models.tower_inputs import MAX_CODES, ItemInputs, UserInputs, item_inputs, user_inputs
from dualrec.models.tower_training import train_towers
from dualrec.models.towers import Towers, TowerShape, all_items, all_users, new_item_vectors
from dualrec.models.training_days import later_positives, training_day

GROUPS, USERS, ITEMS_A_DAY, DAYS = 4, 60, 8, 8
DAY = DAYS - 1
OPTIONS = TowerOptions(dim=8, epochs=12, batch=128, learning_rate=0.02, train_days=4)


def checkerboard(seed: int = 0, *, categories: bool = False, content: bool = False) -> Log:
    """Items of every group on each day; users click items of their group on the upload day and the next.

    User ``u`` is of group u % GROUPS, item ``i`` of group i % GROUPS. Without categories each item is its own token.
    """
    generator = np.random.default_rng(seed)
    items = ITEMS_A_DAY * DAYS
    upload = (
        np.repeat(np.arange(DAYS), ITEMS_A_DAY) + np.sort(generator.uniform(0, 0.5, items).reshape(DAYS, -1)).ravel()
    )
    rows = [
        (np.floor(upload[item]) + later + generator.uniform(0.5, 1), user, item)
        for item in range(items)
        for user in range(item % GROUPS, USERS, GROUPS)
        for later in (0, 1)
        if generator.random() < 0.5
    ]
    day, user, item = np.array(sorted(row for row in rows if row[0] < DAYS)).T
    centres = generator.normal(size=(GROUPS, 6))
    vectors = centres[np.arange(items) % GROUPS] + 0.1 * generator.normal(size=(items, 6))
    return Log(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        day=day,
        kinds={"click": np.ones(len(day), bool)},
        context={"device": generator.integers(-1, 3, len(day)).astype(np.int32)},
        users=USERS,
        items=items,
        upload=upload,
        token=(np.arange(items) % GROUPS if categories else np.arange(items)).astype(np.int32),
        tokens=GROUPS if categories else items,
        content=(vectors if content else vectors[:, :0]).astype(np.float32),
    )


def inputs_at(log: Log, day: int, hide: bool) -> tuple[UserInputs, ItemInputs]:
    past = log.between(0, day)
    past = past.without_new_items(day) if hide else past
    users = user_inputs(past, day, 30, {"country": np.arange(USERS, dtype=np.int32) % 3 - 1})
    return users, item_inputs(past, day, log.new_items(day), users.history)


def trained(log: Log, hide: bool, seed: int = 1, options: TowerOptions = OPTIONS) -> tuple[Towers, list[float]]:
    features = {"country": np.arange(USERS, dtype=np.int32) % 3 - 1}
    days = range(DAY - options.train_days, DAY)
    return train_towers([training_day(log, day, options, hide, features) for day in days], options, seed)


def same_group_auc(towers: Towers, users: UserInputs, items: ItemInputs) -> float:
    """How often a user of the item's group is ranked above one of another, over all new items."""
    vector, bias = all_users(towers, users, np.arange(USERS))
    score = all_items(towers, items) @ vector.T + bias
    own = (items.rows[:, None] - np.arange(USERS)) % GROUPS == 0
    return float(np.mean([(row[mine][:, None] > row[~mine]).mean() for row, mine in zip(score, own, strict=True)]))


@pytest.mark.parametrize("known_by", ["category", "content"])
def test_cold_items_go_to_their_own_group(known_by: str) -> None:
    log = checkerboard(categories=known_by == "category", content=known_by == "content")
    towers, losses = trained(log, hide=True)
    users, items = inputs_at(log, DAY, hide=True)
    assert items.touched.sum() == 0
    assert same_group_auc(towers, users, items) > 0.97
    assert losses[-1] < 0.85 * losses[0]


def test_warm_items_without_category_or_content_go_to_their_audiences_group() -> None:
    log = checkerboard()
    towers, _ = trained(log, hide=False)
    users, items = inputs_at(log, DAY, hide=False)
    assert items.touched.min() > 0
    assert same_group_auc(towers, users, items) > 0.9


def test_a_cold_item_of_which_nothing_is_known_is_everybodys() -> None:
    log = checkerboard()
    towers, _ = trained(log, hide=True)
    users, items = inputs_at(log, DAY, hide=True)
    assert (items.token == -1).all() and items.audience.nnz == 0
    assert 0.35 < same_group_auc(towers, users, items) < 0.65


def test_the_product_is_the_lift_over_active_users() -> None:
    """Of the active users a quarter is of the item's group: exp(score) must average to about one over them."""
    log = checkerboard(categories=True)
    towers, _ = trained(log, hide=True)
    users, items = inputs_at(log, DAY, hide=True)
    vector, bias = all_users(towers, users, np.flatnonzero(users.known))
    lift = np.exp(all_items(towers, items) @ vector.T + bias)
    assert 0.6 < lift.mean() < 1.6


def weights_of(towers: Towers) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in towers.state_dict().items()}


def test_weights_depend_on_the_seed_alone() -> None:
    log, options = checkerboard(categories=True, content=True), OPTIONS.model_copy(update={"epochs": 2})
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        once = weights_of(trained(log, True, 1, options)[0])
        torch.set_num_threads(2)
        torch.manual_seed(99)
        state = torch.get_rng_state()
        again = weights_of(trained(log, True, 1, options)[0])
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state), "the caller's random numbers are left alone"
        other = weights_of(trained(log, True, 2, options)[0])
    finally:
        torch.set_num_threads(threads)
    assert all((once[name] == again[name]).all() for name in once)
    assert any((once[name] != other[name]).any() for name in once)


def test_vectors_do_not_depend_on_threads_or_on_who_else_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualrec.models.towers.BATCH", 7)
    log = checkerboard(categories=True, content=True)
    towers = Towers(shape_of(log))
    users, items = inputs_at(log, DAY, hide=True)
    vector, bias = all_users(towers, users, np.arange(USERS))
    some = np.array([3, 50, 4])
    few_vectors, few_biases = all_users(towers, users, some)
    np.testing.assert_allclose(few_vectors, vector[some], atol=1e-5)
    np.testing.assert_allclose(few_biases, bias[some], atol=1e-5)
    assert vector.shape == (USERS, 16) and bias.shape == (USERS,)
    assert vector.dtype == bias.dtype == np.float32
    assert all_items(towers, items).shape == (ITEMS_A_DAY, 16)


def shape_of(log: Log) -> TowerShape:
    users, items = inputs_at(log, DAY, hide=True)
    return TowerShape(
        tokens=log.tokens,
        content=log.content.shape[1],
        half_lives=len(users.history.weights),
        user_dense=users.dense.shape[1],
        user_codes=users.codes.shape[1],
        item_dense=items.dense.shape[1],
        dim=8,
    )


@pytest.mark.parametrize("content", [True, False])
def test_no_users_and_no_items_have_no_vectors(content: bool) -> None:
    log = checkerboard(categories=True, content=content)
    towers, (users, items) = Towers(shape_of(log)), inputs_at(log, DAY, hide=True)
    nobody = np.zeros(0, np.int64)
    nothing = item_inputs(log, DAY, nobody, user_history(log, DAY))
    assert all_users(towers, users, nobody)[0].shape == (0, 16)
    assert all_items(towers, nothing).shape == (0, 16)
    assert len(items.rows) == ITEMS_A_DAY


@pytest.mark.parametrize("positives_per_item", [1, 3, 1000])
def test_an_epoch_takes_at_most_so_many_positives_of_an_item(positives_per_item: int) -> None:
    from dualrec.models.tower_training import _epoch_batches

    log = checkerboard(categories=True)
    options = OPTIONS.model_copy(update={"positives_per_item": positives_per_item, "batch": 10})
    days = [training_day(log, day, options, True, {}) for day in (3, 4)]
    batches = _epoch_batches(days, options, np.random.default_rng(0))
    for number, day in enumerate(days):
        rows = np.concatenate([part for of, part in batches if of == number])
        assert len(np.unique(rows)) == len(rows)
        taken = np.bincount(day.item[rows], minlength=len(day.items.rows))
        assert (taken == np.minimum(np.bincount(day.item, minlength=len(taken)), positives_per_item)).all()
    assert max(len(part) for _, part in batches) <= 10


def test_positives_are_the_known_users_of_the_days_after() -> None:
    log = checkerboard(3, categories=True)
    items = log.new_items(4)
    known = log.between(0, 4).known()
    known[:10] = False
    place, user = later_positives(log, 4, 1, items, known)
    expected = {
        (list(items).index(i), u)
        for u, i, d in zip(log.user, log.item, log.day, strict=True)
        if i in items and 5 <= d < 6 and known[u]
    }
    assert set(zip(place.tolist(), user.tolist(), strict=True)) == expected
    assert len(place) == len(expected)


def test_a_training_day_knows_nothing_of_later_days_but_its_positives() -> None:
    log = checkerboard(categories=True, content=True)
    changed = np.flatnonzero(log.day >= 5)
    user = log.user.copy()
    user[changed] = np.random.default_rng(1).permutation(user[changed])
    other = Log(**{**vars(log), "user": user})
    one, two = (training_day(each, 4, OPTIONS, False, {}) for each in (log, other))
    for name in ("dense", "codes", "known"):
        assert (getattr(one.users, name) == getattr(two.users, name)).all()
    for name in ("token", "content", "dense", "audience_content", "touched"):
        assert (getattr(one.items, name) == getattr(two.items, name)).all()
    assert abs(one.items.audience - two.items.audience).nnz == 0
    assert len(one.user) != len(two.user) or (one.user != two.user).any()


def test_the_strict_cold_day_does_not_know_who_met_its_items() -> None:
    log = checkerboard(categories=True, content=True)
    new = log.upload[log.item] >= 4
    user = log.user.copy()
    user[new] = 0
    other = Log(**{**vars(log), "user": user})
    one, two = (training_day(each, 4, OPTIONS, True, {}) for each in (log, other))
    assert (one.users.dense == two.users.dense).all()
    assert (one.items.dense == two.items.dense).all() and one.items.touched.sum() == 0


def test_history_and_audience_by_hand() -> None:
    log = checkerboard(categories=True, content=True)
    past, items = log.between(0, 4), log.new_items(4)
    history = user_history(past, 4)
    tokens, content, touched = audience(past, items, history)
    for life, weights, totals in zip((1.5, 6.0), history.weights, history.totals.T, strict=True):
        counts = np.zeros((USERS, GROUPS))
        np.add.at(counts, (past.user, past.token[past.item]), 0.5 ** ((5 - past.day) / life))
        total = counts.sum(1)
        expected = np.log1p(counts) / np.maximum(np.log1p(total), 1e-9)[:, None]
        np.testing.assert_allclose(weights.toarray(), expected, atol=1e-6)
        np.testing.assert_allclose(totals, np.log1p(total), rtol=1e-6)
    decay = 0.5 ** ((5 - past.day) / 6)
    for user in (0, 7):
        own = past.user == user
        mean = decay[own] @ past.content[past.item[own]] / decay[own].sum()
        np.testing.assert_allclose(history.content[user], mean, rtol=1e-5, atol=1e-6)
    for place, item in enumerate(items):
        who = np.unique(past.user[past.item == item])
        assert touched[place] == len(who)
        np.testing.assert_allclose(tokens[place].toarray()[0], history.weights[-1][who].toarray().mean(0), atol=1e-6)
        np.testing.assert_allclose(content[place], history.content[who].mean(0), atol=1e-6)


def test_items_of_unknown_category_are_neither_hot_nor_a_token() -> None:
    log = checkerboard(categories=True)
    token = log.token.copy()
    token[::3] = -1
    log = Log(**{**vars(log), "token": token})
    users, items = inputs_at(log, DAY, hide=True)
    unknown = token[items.rows] < 0
    assert unknown.any() and (items.token[unknown] == -1).all()
    assert (items.dense[unknown, -1] == 0).all() and (items.dense[~unknown, -1] > 0).all()
    assert np.isfinite(all_items(Towers(shape_of(log)), items)).all()
    assert users.codes.min() >= 0 and users.codes.max() < MAX_CODES


def test_nothing_to_learn_from_is_said() -> None:
    log = checkerboard(categories=True)
    day = training_day(log, DAY, OPTIONS, True, {})
    for days in ([], [day]):
        with pytest.raises(ValueError, match="no user interacted with a new item"):
            train_towers(days, OPTIONS, 1)


def test_saved_towers_load_bit_for_bit(tmp_path: Path) -> None:
    log = checkerboard(categories=True, content=True)
    towers, _ = trained(log, True, options=OPTIONS.model_copy(update={"epochs": 1}))
    save_towers(tmp_path, towers, OPTIONS, "abc")
    loaded = load_towers(tmp_path, "abc")
    with pytest.raises(InputError, match=r"other categories, user features or kinds of feedback.*expected abd"):
        load_towers(tmp_path, "abd")
    assert loaded.shape == towers.shape
    users, items = inputs_at(log, DAY, hide=True)
    for before, after in zip(
        all_users(towers, users, np.arange(9)), all_users(loaded, users, np.arange(9)), strict=True
    ):
        assert before.tobytes() == after.tobytes()
    assert all_items(towers, items).tobytes() == all_items(loaded, items).tobytes()


def test_damaged_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_towers(tmp_path)
    towers = Towers(TowerShape(tokens=3, content=0, half_lives=2, user_dense=2, user_codes=1, item_dense=5, dim=4))
    save_towers(tmp_path, towers, OPTIONS, "abc")
    path = tmp_path / FILE
    good = path.read_bytes()
    shape = {"shape": json.dumps({"tokens": 3, "layers": 2})}
    flipped = good[:-9] + bytes([good[-9] ^ 1]) + good[-8:]
    pickled = tmp_path / "pickled"
    torch.save(towers.state_dict(), pickled)
    for bad in (
        b"",
        good[:40],
        good[:-5],
        flipped,
        good.replace(b'tokens\\": 3', b'tokens\\": 4'),
        pickled.read_bytes(),
    ):
        assert bad != good
        path.write_bytes(bad)
        with pytest.raises(InputError, match="not a file of tower weights"):
            load_towers(tmp_path)
    for metadata in (None, shape):
        save_file({"mean": np.zeros(2, np.float32)}, path, metadata)
        with pytest.raises(InputError, match="not a file of tower weights"):
            load_towers(tmp_path)


def rows_of(towers: Towers, items: ItemInputs, *, with_id: bool) -> np.ndarray:
    with torch.no_grad():
        return towers.items(items, np.arange(len(items.rows)), with_id=with_id).numpy()


def with_ids(log: Log, hide: bool, **given: object) -> Towers:
    options = OPTIONS.model_copy(update={"item_id": True, **given})
    features = {"country": np.arange(USERS, dtype=np.int32) % 3 - 1}
    days = [training_day(log, day, options, hide, features) for day in range(DAY - options.train_days, DAY)]
    return train_towers(days, options, 1, items=log.items)[0]


def test_a_new_item_has_no_embedding_of_its_own_and_an_old_one_has() -> None:
    log = checkerboard(categories=True)
    towers = with_ids(log, True)
    assert towers.identity is not None
    learnt = towers.identity.weight.detach().abs().sum(1).numpy() > 0
    trained_on = np.isin(np.floor(log.upload), np.arange(DAY - OPTIONS.train_days, DAY))
    assert learnt[trained_on].all() and not learnt[~trained_on].any()
    _, items = inputs_at(log, DAY, True)
    assert (rows_of(towers, items, with_id=True) == rows_of(towers, items, with_id=False)).all()


def test_sa_learns_cold_items_better_where_ids_could_learn_all_by_heart() -> None:
    """Without SA the items' own embeddings explain what their features could; SA makes the features learn too."""
    log = checkerboard(categories=True)
    known = []
    for sa in (False, True):
        towers = with_ids(log, True, sa=sa)
        users, items = inputs_at(log, DAY, True)
        vector, bias = all_users(towers, users, np.arange(USERS))
        score = all_items(towers, items) @ vector.T + bias
        own = (items.rows[:, None] - np.arange(USERS)) % GROUPS == 0
        known.append(score[own].mean() - score[~own].mean())
    assert known[1] > known[0]


def test_without_ef_nobody_who_met_the_item_counts() -> None:
    log = checkerboard()
    options = OPTIONS.model_copy(update={"ef": False})
    towers = trained(log, False, options=options)[0]
    users, items = inputs_at(log, DAY, False)
    assert items.touched.min() > 0
    assert np.ptp(all_items(towers, items)[:, : OPTIONS.dim], axis=0).max() == 0
    assert 0.35 < same_group_auc(towers, users, items) < 0.65


@pytest.mark.parametrize("known_by", ["category", "content"])
def test_similar_items_audience_is_their_users_history(known_by: str) -> None:
    log = checkerboard(categories=known_by == "category", content=known_by == "content")
    users, items = inputs_at(log, DAY, True)
    dense = items.similar.toarray()
    assert items.touched.sum() == 0 and (dense.sum(1) > 0).all()
    if known_by == "category":
        assert (dense.argmax(1) == items.rows % GROUPS).all()
    else:
        tokens = np.arange(log.items) % GROUPS
        own = [row[tokens == item % GROUPS].sum() for row, item in zip(dense, items.rows, strict=True)]
        assert (np.array(own) > 0.5 * dense.sum(1)).all()  # 50 of the 56 items before, nearer ones count more
        np.testing.assert_allclose(np.linalg.norm(items.similar_content, axis=1) > 0, True)
    assert users.known.any()


def test_negatives_of_the_batch_learn_the_same_lift() -> None:
    log = checkerboard(categories=True)
    options = OPTIONS.model_copy(update={"negatives_from": "batch"})
    towers = trained(log, True, options=options)[0]
    users, items = inputs_at(log, DAY, True)
    assert same_group_auc(towers, users, items) > 0.95
    vector, bias = all_users(towers, users, np.flatnonzero(users.known))
    assert 0.4 < np.exp(all_items(towers, items) @ vector.T + bias).mean() < 2.5


def test_training_ends_when_held_out_positives_no_longer_gain() -> None:
    log = checkerboard(categories=True)
    options = OPTIONS.model_copy(update={"epochs": 60, "patience": 2, "learning_rate": 0.05})
    shares: list[float] = []
    features = {"country": np.arange(USERS, dtype=np.int32) % 3 - 1}
    days = [training_day(log, day, options, True, features) for day in range(DAY - options.train_days, DAY)]
    towers, losses = train_towers(days, options, 1, shares.append)
    assert len(losses) < 60
    assert sum(shares) == pytest.approx(1)
    users, items = inputs_at(log, DAY, True)
    assert same_group_auc(towers, users, items) > 0.9


def test_sa_without_an_id_to_drop_is_refused() -> None:
    with pytest.raises(ValueError, match="expected item_id too"):
        TowerOptions(sa=True)


SIZE = 12
WITH_TASTES = OPTIONS.model_copy(update={"tastes": SIZE})
COUNTRY = {"country": np.arange(USERS, dtype=np.int32) % 3 - 1}


def tasting(log: Log, day: int, tastes: int = SIZE) -> tuple[UserInputs, ItemInputs]:
    past = log.between(0, day)
    users = user_inputs(past, day, 30, COUNTRY, tastes=tastes)
    return users, item_inputs(past, day, log.new_items(day), users.history, tastes=users.tastes)


def test_the_third_part_is_by_the_tastes_of_the_first_users() -> None:
    log = checkerboard()
    users, items = tasting(log, DAY)
    towers = trained(log, False, options=WITH_TASTES)[0]
    vector, _ = all_users(towers, users, np.arange(USERS))
    item = all_items(towers, items)
    assert vector.shape[1] == item.shape[1] == towers.shape.width == 2 * OPTIONS.dim + SIZE
    part = item[:, -SIZE:] @ vector[:, -SIZE:].T
    early = first_users(log.between(0, DAY), items.rows)
    count = np.maximum(np.asarray(early.sum(1)).reshape(-1, 1), 1)
    mean = users.tastes[users.known].mean(0)
    expected = early @ (users.tastes @ (users.tastes - mean).T) / np.sqrt(count)
    assert towers.taste_scale is not None
    np.testing.assert_allclose(part, 12 * towers.taste_scale.item() * expected, atol=1e-4)
    assert towers.taste_scale.item() > 0, "users of one taste do like the same items here"


def test_tastes_find_the_audiences_group() -> None:
    log = checkerboard()
    without = trained(log, False, options=OPTIONS.model_copy(update={"epochs": 2}))[0]
    towers = trained(log, False, options=WITH_TASTES.model_copy(update={"epochs": 2}))[0]
    assert same_group_auc(towers, *tasting(log, DAY)) > 0.97
    assert same_group_auc(without, *tasting(log, DAY, 0)) < 0.97


def test_a_training_day_knows_nothing_of_later_tastes() -> None:
    log = checkerboard()
    changed = np.flatnonzero(log.day >= 5)
    user = log.user.copy()
    user[changed] = np.random.default_rng(1).permutation(user[changed])
    one, two = (training_day(each, 4, WITH_TASTES, False, {}) for each in (log, Log(**{**vars(log), "user": user})))
    assert one.users.tastes.tobytes() == two.users.tastes.tobytes() and one.users.tastes.any()
    assert one.items.fans.tobytes() == two.items.fans.tobytes() and one.items.fans.any()
    assert not training_day(log, 4, WITH_TASTES, True, {}).items.fans.any(), "strict cold hides them"


def test_towers_with_tastes_load_bit_for_bit_and_give_cold_items_none(tmp_path: Path) -> None:
    log = checkerboard(categories=True)
    towers = trained(log, False, options=WITH_TASTES.model_copy(update={"epochs": 1}))[0]
    save_towers(tmp_path, towers, WITH_TASTES, "abc")
    loaded = load_towers(tmp_path, "abc")
    users, items = tasting(log, DAY)
    assert all_items(towers, items).tobytes() == all_items(loaded, items).tobytes()
    assert all_users(towers, users, np.arange(9))[0].tobytes() == all_users(loaded, users, np.arange(9))[0].tobytes()
    nothing = np.zeros((ITEMS_A_DAY, OPTIONS.dim), np.float32)
    cold = new_item_vectors(loaded, items.token, items.content, items.dense, nothing)
    assert cold.shape == (ITEMS_A_DAY, towers.shape.width) and not cold[:, -SIZE:].any()
    assert all_users(towers, users, np.zeros(0, np.int64))[0].shape == (0, towers.shape.width)


def test_tastes_need_the_first_users() -> None:
    with pytest.raises(ValidationError, match="tastes is 8 and ef is false, expected ef too"):
        TowerOptions(tastes=8, ef=False)
