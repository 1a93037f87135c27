"""Training on a GPU: every tensor of a step lies on it, checked without one on tensors that have a device and no data."""

import numpy as np
import pytest
import torch

from dualrec.models.head_network import HeadNetwork, HeadShape
from dualrec.models.head_training import HeadRows, _loss, train_head_network
from dualrec.models.log import Log
from dualrec.models.options import HeadOptions, TowerOptions
from dualrec.models.tower_loss import pair_loss
from dualrec.models.tower_training import _shape, train_towers
from dualrec.models.towers import Towers
from dualrec.models.training_days import TrainingDay, training_day

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


OPTIONS = TowerOptions(dim=8, epochs=12, batch=128, learning_rate=0.02, train_days=4)
GROUPS, USERS, ITEMS, DAYS = 4, 60, 64, 8


def days_of(options: TowerOptions) -> list[TrainingDay]:
    """Users click items of their own group, on the upload day and the next."""
    rng = np.random.default_rng(0)
    upload = np.repeat(np.arange(DAYS), ITEMS // DAYS) + 0.1
    user, item = (part.ravel() for part in np.meshgrid(np.arange(USERS), np.arange(ITEMS)))
    clicked = (user % GROUPS == item % GROUPS) & (rng.random(len(user)) < 0.7)
    user, item = user[clicked], item[clicked]
    day = upload[item] + rng.integers(0, 2, len(item)) + 0.5
    order = np.argsort(day, kind="stable")
    order = order[day[order] < DAYS]
    log = Log(
        user=user[order].astype(np.int32),
        item=item[order].astype(np.int32),
        day=day[order],
        kinds={"click": np.ones(len(order), bool)},
        context={"device": rng.integers(-1, 3, len(order)).astype(np.int32)},
        users=USERS,
        items=ITEMS,
        upload=upload,
        token=(np.arange(ITEMS) % GROUPS).astype(np.int32),
        tokens=GROUPS,
        content=rng.normal(size=(ITEMS, 6)).astype(np.float32),
    )
    features = {"country": np.arange(USERS, dtype=np.int32) % 3 - 1}
    return [training_day(log, day, options, False, features) for day in range(DAYS - 4, DAYS - 1)]


def rows_of_heads(count: int = 500) -> HeadRows:
    """What is liked shows in the users' first input and the items' first."""
    rng = np.random.default_rng(3)
    users, items = (rng.normal(size=(40, width)).astype(np.float32) for width in (6, 5))
    user, item = rng.integers(0, 40, (2, count))
    liked = rng.random((count, 2)) < 1 / (1 + np.exp(-2 * users[user, :1] * items[item, :1]))
    met = rng.normal(size=(40, 4)).astype(np.float32)
    return HeadRows(users, items, met, np.arange(40), user, item, liked.astype(np.float32), np.arange(count))


@pytest.mark.parametrize("negatives", ["active", "batch"])
def test_a_step_of_the_towers_stays_on_their_device(negatives: str) -> None:
    options = OPTIONS.model_copy(update={"item_id": True, "sa": True, "negatives_from": negatives})
    (day, *_) = days_of(options)
    with torch.device("meta"):
        towers = Towers(_shape(day, 100, options))
    loss = pair_loss(towers, day, np.arange(20), options, np.random.default_rng(1))
    assert towers.device.type == loss.device.type == "meta"


@pytest.mark.parametrize("sa", [False, True])
def test_a_step_of_the_heads_stays_on_their_device(sa: bool) -> None:
    rows, options = rows_of_heads(), HeadOptions(item_id=True, sa=sa)
    with torch.device("meta"):
        network = HeadNetwork(HeadShape(6, 5, 4, 2, options.dim, 40))
    loss = _loss(network, rows, np.arange(20), options)
    assert network.device.type == loss.device.type == "meta"


def test_the_check_would_notice_a_tensor_left_behind() -> None:
    rows, options = rows_of_heads(), HeadOptions()
    with torch.device("meta"):
        network = HeadNetwork(HeadShape(6, 5, 4, 2, options.dim))
    with pytest.raises(RuntimeError, match="device"):
        network.users(torch.from_numpy(rows.users))


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_trained_comes_back_to_the_cpu_and_has_learnt(device: str) -> None:
    days = days_of(OPTIONS)
    towers, losses = train_towers(days, OPTIONS, 1, device=device)
    assert towers.device.type == "cpu" and losses[-1] < 0.8 * losses[0]
    options = HeadOptions(epochs=30, batch=64)
    network, losses = train_head_network(rows_of_heads(), options, 40, 1, device=device)
    assert network.device.type == "cpu" and losses[-1] < 0.9 * losses[0]
