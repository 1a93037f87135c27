"""Rankers on columns: files, determinism, calibration, balance, and a cross effect that logistic heads cannot see."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dualrec.models.blend_ranker import BlendRanker, fit_both
from dualrec.models.cross_features import Features, FeatureSources, cross_features
from dualrec.models.cross_ranker import CrossRanker, fit_cross
from dualrec.models.expert_ranker import ExpertRanker, fit_experts
from dualrec.models.experts import Experts, ExpertShape, balance_loss
from dualrec.models.heads import fit_heads, head_rates
from dualrec.models.log import Log
from dualrec.models.logistic import sigmoid
from dualrec.models.metrics import auc, calibration_table, expected_calibration_error
from dualrec.models.options import RankerOptions
from dualrec.models.ranker import HEADER, Ranker, RankerRows, names_sha256, ranker_rows

OPTIONS = RankerOptions(
    bags=2,
    trees=60,
    learning_rate=0.15,
    experts=4,
    width=8,
    epochs=6,
    batch=128,
    column_share=1.0,
    dropout=0.0,
    expert_learning_rate=0.01,
)
HEADS = ("like", "comment")
RANKERS: dict[str, tuple[type[Any], Callable[[RankerRows], Ranker]]] = {
    "cross": (CrossRanker, lambda rows: fit_cross(rows, OPTIONS, 3)[0]),
    "experts": (ExpertRanker, lambda rows: fit_experts(rows, OPTIONS, 3)[0]),
    "both": (BlendRanker, lambda rows: fit_both(rows, OPTIONS, 3)),
}


def made_rows(count: int = 2500, seed: int = 1) -> tuple[Features, np.ndarray]:
    """Features with gaps, and outcomes of a sum and of a product of them: the second head is sparse."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(count, 5)).astype(np.float32)
    logit = np.stack([values[:, 0] + 1.5 * values[:, 1] * values[:, 2], values[:, 3] - 2.5], 1)
    happened = generator.random((count, 2)) < sigmoid(logit)
    values[generator.random(values.shape) < 0.02] = np.nan
    return Features(values, tuple("abcde")), happened


@pytest.fixture(scope="module")
def rows() -> RankerRows:
    return ranker_rows(*made_rows(), HEADS, 0.2)


@pytest.fixture(scope="module")
def fitted(rows: RankerRows) -> dict[str, Ranker]:
    return {kind: fit(rows) for kind, (_, fit) in RANKERS.items()}


@pytest.mark.parametrize("kind", RANKERS)
def test_a_saved_ranker_predicts_the_same_bits(kind: str, fitted: dict[str, Ranker], tmp_path: Path) -> None:
    asked = made_rows(300, 2)[0]
    fitted[kind].save(tmp_path)
    loaded = RANKERS[kind][0].load(tmp_path)
    before = fitted[kind].predict(asked)
    assert before.dtype == np.float32 and before.shape == (300, 2) and ((before > 0) & (before < 1)).all()
    assert loaded.predict(asked).tobytes() == before.tobytes()
    assert (loaded.heads, loaded.names, loaded.scaling) == (HEADS, asked.names, fitted[kind].scaling)
    assert RankerOptions.model_validate_json(json.dumps(loaded.options)) == OPTIONS
    about = json.loads((tmp_path / HEADER).read_text())["about"]
    assert about["features_sha256"] == names_sha256(asked.names)
    loaded.save(tmp_path)
    assert RANKERS[kind][0].load(tmp_path).predict(asked).tobytes() == before.tobytes()


@pytest.mark.parametrize("kind", RANKERS)
def test_rows_are_independent_and_the_same_seed_gives_the_same(
    kind: str, fitted: dict[str, Ranker], rows: RankerRows
) -> None:
    asked = made_rows(60, 4)[0]
    whole = fitted[kind].predict(asked)
    assert RANKERS[kind][1](rows).predict(asked).tobytes() == whole.tobytes()
    np.testing.assert_allclose(fitted[kind].predict(asked.take(np.arange(7, 20))), whole[7:20], rtol=1e-5)
    assert fitted[kind].predict(asked.take(np.arange(0))).shape == (0, 2)


@pytest.mark.parametrize("kind", RANKERS)
def test_better_than_chance_and_calibrated(kind: str, fitted: dict[str, Ranker]) -> None:
    features, happened = made_rows(20_000, 9)
    p = fitted[kind].predict(features)
    assert auc(happened[:, 0], p[:, 0]) > 0.75 and auc(happened[:, 1], p[:, 1]) > 0.68
    for place in range(2):
        error = expected_calibration_error(calibration_table(happened[:, place], p[:, place]))
        assert error < 0.05
        assert abs(p[:, place].mean() - happened[:, place].mean()) < 0.03


@pytest.mark.parametrize("kind", RANKERS)
def test_other_features_are_refused_by_name(kind: str, fitted: dict[str, Ranker]) -> None:
    values = made_rows(5, 4)[0].values
    with pytest.raises(ValueError, match="feature 2 is 'x', expected 'c'"):
        fitted[kind].predict(Features(values, tuple("abxde")))
    with pytest.raises(ValueError, match="there are 4 features, expected 5"):
        fitted[kind].predict(Features(values[:, :4], tuple("abcd")))


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("kind", RANKERS)
def test_damaged_and_foreign_files_are_refused_unopened(kind: str, fitted: dict[str, Ranker], tmp_path: Path) -> None:
    load, trap = RANKERS[kind][0].load, tmp_path / "sprung"
    with pytest.raises(FileNotFoundError):
        load(tmp_path)
    folder = tmp_path / "ranker"
    folder.mkdir()
    fitted[kind].save(folder)
    generator = np.random.default_rng(5)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        good = path.read_bytes()
        bads = [b"", good[:-20], good[: len(good) // 2], pickle.dumps(Trap(trap)), b"[" * 100_000, b"{}", b"null"]
        for place in generator.integers(0, len(good) - 1, 12):
            flipped = bytearray(good)
            flipped[place] ^= 1 << generator.integers(0, 7)
            bads.append(bytes(flipped))
        for bad in bads:
            path.write_bytes(bad)
            try:
                loaded = load(folder)
            except ValueError as error:
                assert "\n" not in str(error) and str(folder) in str(error)
            else:  # a flip in the blanks of the header
                assert path.name == HEADER and loaded.predict(made_rows(3)[0]).shape == (3, 2)
                assert json.loads(bad) == json.loads(good)
        path.write_bytes(good)
    assert not trap.exists()
    load(folder)


def test_a_ranker_of_another_kind_or_place_is_refused(fitted: dict[str, Ranker], tmp_path: Path) -> None:
    fitted["cross"].save(tmp_path)
    with pytest.raises(ValueError, match="is of kind 'cross', schema 1; expected kind 'experts', schema 1"):
        ExpertRanker.load(tmp_path)
    fitted["experts"]._save(tmp_path, {}, {"nets": 1})
    with pytest.raises(ValueError, match="does not hold the weights of the experts"):
        ExpertRanker.load(tmp_path)


def test_what_cannot_be_learnt_is_said() -> None:
    features, happened = made_rows(200)
    happened[:, 1] = False
    with pytest.raises(ValueError, match="head 'comment' never happened in the 160 earlier rows"):
        ranker_rows(features, happened, HEADS, 0.2)
    with pytest.raises(ValueError, match=r"outcomes have shape \(200, 2\), expected \(200, 1\)"):
        ranker_rows(features, happened, HEADS[:1], 0.2)


def test_no_expert_dies(rows: RankerRows) -> None:
    ranker = fit_experts(rows, OPTIONS.model_copy(update={"epochs": 10, "bags": 1}), 1)[0]
    shares = ranker.shares(np.nan_to_num(rows.features.values))
    assert shares.shape == (1, 2, 4)
    np.testing.assert_allclose(shares.sum(-1), 1, rtol=1e-5)
    assert shares.mean(1).min() > 0.3 / OPTIONS.experts
    assert shares[:, 1].max() < 0.9


def test_the_balance_loss_is_least_when_even() -> None:
    assert balance_loss(torch.eye(4)[None]).item() == pytest.approx(1.0)
    assert balance_loss(torch.eye(4)[[0, 0, 0, 0]][None]).item() == pytest.approx(4.0)
    gates = torch.tensor([[[0.7, 0.3]], [[0.6, 0.4]]], requires_grad=True)
    balance_loss(gates).backward()
    assert gates.grad is not None and gates.grad[0, 0, 0] > gates.grad[0, 0, 1]


def test_an_unknown_value_counts_as_average() -> None:
    torch.manual_seed(0)
    net = Experts(ExpertShape(features=2, heads=1, experts=2, width=4)).eval()
    values = np.array([[1, 5], [3, np.nan]], np.float32)
    net.standardise(values, np.array([0.25]))
    scaled = net.scaled(values)
    np.testing.assert_allclose(scaled.numpy(), [[-1, 0], [1, 0]], atol=1e-6)
    assert net.linear.bias.item() == pytest.approx(np.log(1 / 3))


def test_a_cross_effect_that_the_logistic_heads_cannot_see() -> None:
    """Even users like even categories, odd users odd ones: neither the user's nor the category's rate says anything."""
    generator = np.random.default_rng(11)
    count, users, items = 6000, 60, 300
    user, item = generator.integers(0, users, count), generator.integers(0, items, count)
    category = np.arange(items) % 6
    like = generator.random(count) < np.where((user + category[item]) % 2, 0.15, 0.6)
    log = Log(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        day=np.sort(generator.uniform(0, 8, count)),
        kinds={"like": like},
        users=users,
        items=items,
        upload=np.zeros(items),
        token=category.astype(np.int32),
        tokens=6,
        content=np.zeros((items, 0), np.float32),
    )
    split = int(np.searchsorted(log.day, 6))
    train, test = np.arange(split), np.arange(split, count)
    features = cross_features(FeatureSources(log=log))
    rows = ranker_rows(features.take(train), like[train, None], ("like",), 0.2)
    rates = head_rates(log.between(0, 5), ("like",), log.token)
    (head,) = fit_heads(log.take(train), ("like",), rates, np.zeros(split, np.float32))
    p = head.probability(np.zeros(len(test)), rates.user[user[test], 0], rates.item[item[test], 0])
    plain = auc(like[test], p)
    assert plain < 0.6
    for fit in (fit_cross, fit_experts):
        assert auc(like[test], fit(rows, OPTIONS, 1)[0].predict(features.take(test))[:, 0]) > plain + 0.1
