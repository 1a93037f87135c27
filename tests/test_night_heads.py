"""The heads of a night: by the network or by rates, what of the night they may know, and how they reach later items."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualrec.alloc import night_heads as module
from dualrec.alloc import stage_ranking, stage_serving
from dualrec.alloc.config import load_config
from dualrec.alloc.errors import InputError
from dualrec.alloc.item_scorer import ItemScorer
from dualrec.alloc.new_item import NewItem
from dualrec.alloc.night_heads import NightHeads, held_out_day, night_heads
from dualrec.alloc.night_view import NightView, load_view
from dualrec.alloc.progress import NullProgress
from dualrec.alloc.publish import verify_run
from dualrec.alloc.scorer import load_scorer
from dualrec.alloc.serving_files import load_item_scorer
from dualrec.alloc.serving_names import HEADS_FILE, scorer_of
from dualrec.alloc.stage import StageContext
from dualrec.alloc.stage_arrivals import known_of
from dualrec.alloc.stage_ranking import exposures_without_kinds
from dualrec.alloc.stream_prices import load_stream_prices
from dualrec.alloc.tower_store import load_heads, save_heads
from dualrec.models.head_network import HeadNetwork, HeadShape
from dualrec.models.head_totals import HeadTotals
from dualrec.models.heads import ALWAYS, Head
from dualrec.models.log import Log
from dualrec.models.options import HeadOptions, ScoreOptions
from dualrec.models.pair_scores import SIGNIFICANT_BITS, PairScorer

UNIT = 2.0 ** (1 - SIGNIFICANT_BITS)
FEATURES = np.linspace(-1, 1, 8).tolist()


class Notes(NullProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


class Made:
    """The stages `ranking` and `serving` of the strict-cold night, run here with other settings."""

    def __init__(self, work: Path, out: Path, small_night: tuple[str, ...], *overrides: str) -> None:
        self.folders = {name: work / name for name in ("tables", "activity", "retrieval")}
        self.config, self.progress, self.out = load_config("nightly", [*small_night, *overrides]), Notes(), out
        self.view = load_view(self.folders["tables"])
        for name, run in (("ranking", stage_ranking.run), ("serving", stage_serving.run)):
            (out / name).mkdir(parents=True)
            run(self.context(out / name))
            self.folders[name] = out / name
        self.ranking: dict[str, Any] = json.loads((out / "ranking" / "ranking.json").read_text())

    def context(self, out: Path) -> StageContext:
        return StageContext(self.config, "", out, 1, self.progress, dict(self.folders))

    def of_night(self) -> PairScorer:
        return load_scorer(self.view, self.folders["retrieval"], self.folders["ranking"])

    def later(self) -> ItemScorer:
        users = np.load(self.folders["retrieval"] / "users.npy")
        return load_item_scorer(self.folders["serving"], self.view.tables.users.ids[users])

    def known_only(self, view: NightView) -> NightHeads:
        users, items = (np.load(self.folders["retrieval"] / f"{name}.npy") for name in ("users", "items"))
        return night_heads(self.context(self.out), view, users, items)


Make = Callable[..., Made]


@pytest.fixture(scope="module")
def work(cold: Any, cold_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the night's stages: other tests go on in its own folder."""
    folder = tmp_path_factory.mktemp("heads") / "work"
    shutil.copytree(cold_out / "work", folder)
    return folder


@pytest.fixture(scope="module")
def make(work: Path, small_night: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Make:
    return lambda *overrides: Made(work, tmp_path_factory.mktemp("made"), small_night, *overrides)


@pytest.fixture(scope="module")
def network(make: Make) -> Made:
    return make()


@pytest.fixture(scope="module")
def rates(make: Make) -> Made:
    return make("heads.model=rates", "score.interaction_exponent=1.0")


def assert_later_items_score_alike(made: Made) -> None:
    """The new items of the night, of whom nobody is known to have met them, as if they came after it."""
    own, later = made.of_night(), made.later()
    for place, row in enumerate(made.view.new_items[:8]):
        expected = own.rows(np.array([place]))[0]
        found = later.scores(known_of(made.view.tables, int(row)), float(made.view.log.upload[row] % 1))
        np.testing.assert_allclose(found, expected, rtol=2 * UNIT, atol=UNIT * float(expected.max()) / 100)


# Which model


def test_the_network_is_said_and_kept(network: Made) -> None:
    fit, heads = network.ranking["fit"], network.ranking["heads"]
    past, kinds = network.view.past, network.view.tables.heads
    assert fit["model"] == "network" and "note" not in fit and not network.progress.told
    assert tuple(fit["learnt"]) == tuple(kind for kind in kinds if past.kinds[kind].mean() <= ALWAYS)
    first, days = fit["first_held_out_day"], network.config.heads.train_days
    assert fit["train_rows"] == len(past.between(first - days, first - 1))
    assert fit["held_out_rows"] == len(past.between(first, network.view.day))
    assert fit["losses"][-1] < fit["losses"][0]
    assert [head["kind"] for head in heads] == list(kinds)
    assert all((head["kind"] in fit["learnt"]) != head["always"] for head in heads)
    assert any(head["taste"] for head in heads)
    loaded = load_heads(network.folders["ranking"])
    assert loaded.shape.heads == len(fit["learnt"]) and loaded.shape.dim == network.config.heads.dim
    served = network.folders["serving"] / "serving" / HEADS_FILE
    assert served.read_bytes() == (network.folders["ranking"] / HEADS_FILE).read_bytes()


def test_the_networks_parts_are_those_of_the_end_of_the_day(network: Made) -> None:
    """By the network that was written and totals made here, day by day."""
    from dualrec.models.head_network import encode_items, encode_users
    from dualrec.models.head_totals import divider

    view, learnt = network.view, tuple(network.ranking["fit"]["learnt"])
    totals = HeadTotals(view.past, learnt, view.group, divider(view.past, learnt))
    for day in range(view.day + 1):
        totals.add_day(view.past.between(day, day))
    loaded, scorer = load_heads(network.folders["ranking"]), network.of_night()
    users, items = (np.load(network.folders["retrieval"] / f"{name}.npy") for name in ("users", "items"))
    place = [view.tables.heads.index(kind) for kind in learnt]
    taste, of_user = encode_users(loaded, totals.users(users))
    appeal, of_item = encode_items(loaded, totals.items(items))
    for found, expected in (
        (scorer.user_taste, taste),
        (scorer.item_taste, appeal),
        (scorer.user_rate[:, place], of_user),
        (scorer.item_rate[:, place], of_item),
        (np.load(network.folders["ranking"] / "group_rate.npy"), totals.groups()),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_heads_by_rates_have_no_network_and_serve(rates: Made) -> None:
    assert rates.ranking["fit"] == {"model": "rates"} and not rates.progress.told
    assert all(head["taste"] == 0 for head in rates.ranking["heads"])
    for name in ("ranking", "serving/serving"):
        assert not (rates.out / name / HEADS_FILE).exists()
    scorer = rates.of_night()
    assert scorer.user_taste.shape == (scorer.users, 0) and scorer.item_taste.shape == (scorer.items, 0)
    assert rates.later().network is None
    assert_later_items_score_alike(rates)


def test_a_night_by_rates_publishes_no_weights_of_heads(
    night: Callable[..., Any], cold: Any, work: Path, small_data: Path
) -> None:
    run = night(work.parent, "heads.model=rates", "allocation.solver=greedy", data=small_data)
    verify_run(run.run_dir)
    published = {path.name for path in (run.run_dir / "serving").iterdir()}
    assert {path.name for path in (cold.run_dir / "serving").iterdir()} == published | {HEADS_FILE}
    ids = load_stream_prices(run.run_dir).user_ids
    scores = scorer_of(run.run_dir, ids)().scores(NewItem("topic 001", 3, FEATURES), 0.5)
    assert scores.shape == ids.shape and scores.max() > 0
    assert set(run.metrics["ranking"]["auc"]) == set(cold.metrics["ranking"]["auc"])


def test_too_few_interactions_are_said(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEWEST", 1_000_000)
    made = make()
    days, fit = made.config.heads.train_days, made.ranking["fit"]
    first = held_out_day(made.view.past, made.view.day, days)
    count = len(made.view.past.between(first - days, first - 1))
    assert fit["model"] == "rates" and made.progress.told == [fit["note"]]
    assert f"heads: {count:,} interactions before those held out, fewer than 1,000,000" in fit["note"]
    assert not (made.folders["ranking"] / HEADS_FILE).exists()
    assert_later_items_score_alike(made)


def test_kinds_that_are_always_there_need_no_network(network: Made) -> None:
    log = network.view.log
    always = replace(log, kinds={kind: np.ones(len(log), bool) for kind in log.kinds})
    found = network.known_only(replace(network.view, log=always))
    assert found.heads == [Head(kind, 0.0, 0.0, 0.0, 0.0, always=True) for kind in network.view.tables.heads]
    assert found.network is None and found.learnt == ()
    assert found.about["model"] == "rates" and "always" in found.about["note"]


# What is held out


def on_days(days: np.ndarray) -> Log:
    count = len(days)
    return Log(
        user=np.zeros(count, np.int32),
        item=np.zeros(count, np.int32),
        day=np.sort(days),
        kinds={},
        users=1,
        items=1,
        upload=np.zeros(1),
        token=np.zeros(1, np.int32),
        tokens=1,
        content=np.zeros((1, 0), np.float32),
    )


@given(
    counts=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    train_days=st.integers(1, 40),
    held_out=st.integers(1, 12),
)
def test_the_last_days_with_enough_interactions_are_held_out(counts: list[int], train_days: int, held_out: int) -> None:
    """At most a third of the days that are learnt from, and always one."""
    day, most = len(counts) - 1, max(1, train_days // 3)
    enough = [back for back in range(1, most + 1) if sum(counts[max(0, day + 1 - back) :]) >= held_out]
    log = on_days(np.repeat(np.arange(len(counts)), counts) + 0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HELD_OUT", held_out)
        assert held_out_day(log, day, train_days) == day + 1 - (enough[0] if enough else most)


# What is known


def with_new_items_and_later_days_changed(view: NightView) -> NightView:
    """Other users, items, times and feedback of the day's interactions with its new items, and of all later days."""
    log, generator = view.log, np.random.default_rng(5)
    new = view.new_items
    hidden = np.isin(log.item, new) | (log.day >= view.day + 1)
    kept = np.flatnonzero(~hidden | (generator.random(len(log)) < 0.7))
    log, hidden = log.take(kept), hidden[kept]
    count = len(log)
    item = np.where(hidden & (log.day < view.day + 1), generator.choice(new, count), log.item)
    item = np.where(log.day >= view.day + 1, generator.integers(0, log.items, count), item)
    other = replace(
        log,
        user=np.where(hidden, generator.integers(0, log.users, count), log.user).astype(np.int32),
        item=item.astype(np.int32),
        kinds={name: np.where(hidden, generator.random(count) < 0.5, flags) for name, flags in log.kinds.items()},
    )
    return replace(view, log=other)


def same(one: NightHeads, two: NightHeads) -> bool:
    arrays = [field.name for field in fields(one) if isinstance(getattr(one, field.name), np.ndarray)]
    assert len(arrays) == 5 and one.network is not None and two.network is not None
    weights = (each.network.state_dict() for each in (one, two) if each.network is not None)
    return (
        all(getattr(one, name).tobytes() == getattr(two, name).tobytes() for name in arrays)
        and all((left == right).all() for left, right in zip(*(each.values() for each in weights), strict=True))
        and (one.heads, one.about) == (two.heads, two.about)
    )


def test_strict_cold_heads_know_nothing_of_the_days_new_items(network: Made) -> None:
    changed = with_new_items_and_later_days_changed(network.view)
    met = np.isin(network.view.log.item, network.view.new_items) & (network.view.log.day < network.view.day + 1)
    assert met.sum() > 50
    found = network.known_only(network.view)
    assert (found.user_taste == network.of_night().user_taste).all()
    assert same(found, network.known_only(changed))
    warm = [replace(view, strict_cold=False) for view in (network.view, changed)]
    assert not same(*map(network.known_only, warm)), "the warm regime uses them"


def test_warm_heads_know_nothing_of_later_days(network: Made) -> None:
    view = replace(network.view, strict_cold=False)
    cut = replace(view, log=view.log.between(0, view.day))
    assert len(cut.log) < len(view.log)
    assert same(network.known_only(view), network.known_only(cut))


# Later items


def test_later_items_score_as_the_nights(network: Made) -> None:
    assert_later_items_score_alike(network)


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_the_exponent_of_the_interaction_reaches_both(make: Make, network: Made, exponent: float) -> None:
    made = make(f"score.interaction_exponent={exponent}")
    assert network.ranking["interaction_exponent"] == 0 and made.ranking["interaction_exponent"] == exponent
    assert made.ranking["heads"] == network.ranking["heads"]
    plain, other = network.of_night(), made.of_night()
    lift = plain.item_vector @ plain.user_vector.T + plain.user_bias
    chance = (1 / (1 + np.exp(-(lift + plain.item_logit[:, None]).astype(float)))) ** exponent
    rows = np.arange(plain.items)
    np.testing.assert_allclose(other.rows(rows), plain.rows(rows) * chance, rtol=4 * UNIT)
    assert_later_items_score_alike(made)


def test_creators_that_are_all_unknown_do_not_make_categories_the_groups(network: Made) -> None:
    """As of items with a column of creators in which every one is missing."""
    scorer = network.later()
    nobody = np.zeros(0, np.int64)
    lookups = replace(
        scorer.lookups, creator_rate=scorer.lookups.creator_rate[:, -1:], group_rate=scorer.lookups.group_rate[-1:]
    )
    item = NewItem("topic 005", None, FEATURES)
    found = replace(scorer, creators=nobody, author=nobody, lookups=lookups).scores(item, 0.5)
    assert found.tobytes() == scorer.scores(item, 0.5).tobytes()


def test_serving_files_without_their_network_are_refused(network: Made, tmp_path: Path) -> None:
    shutil.copytree(network.folders["serving"] / "serving", tmp_path / "serving")
    (tmp_path / "serving" / HEADS_FILE).unlink()
    ids = np.zeros(0, np.int64)
    with pytest.raises(InputError, match=f"{HEADS_FILE} does not exist"):
        load_item_scorer(tmp_path, ids)
    about = tmp_path / "serving" / "serving.json"
    given = json.loads(about.read_text())
    for wrong in (3, 0, None, "2", [2]):
        about.write_text(json.dumps({**given, "schema": wrong}))
        with pytest.raises(InputError, match="not a folder to score new items with"):
            load_item_scorer(tmp_path, ids)
    about.write_text("{}")
    with pytest.raises(InputError, match="not a folder to score new items with"):
        load_item_scorer(tmp_path, ids)


def test_a_folder_of_the_version_before_scores_as_it_did(rates: Made, tmp_path: Path) -> None:
    """Schema 1: no tastes, no network, heads without a weight for it, and P(interaction) as it is."""
    folder = tmp_path / "serving"
    shutil.copytree(rates.folders["serving"] / "serving", folder)
    about = json.loads((folder / "serving.json").read_text())
    for name in ("learnt", "interaction_exponent"):
        del about[name]
    for head in about["heads"]:
        del head["taste"]
    (folder / "serving.json").write_text(json.dumps({**about, "schema": 1}))
    (folder / "user_taste.npy").unlink()
    groups = int(rates.view.group.max()) + 2
    assert np.load(folder / "group_rate.npy").shape == (groups, len(about["heads"]))
    users = np.load(rates.folders["retrieval"] / "users.npy")
    before, now = load_item_scorer(tmp_path, rates.view.tables.users.ids[users]), rates.later()
    for item in (NewItem("topic 001", 3, FEATURES), NewItem(None, None, FEATURES)):
        assert before.scores(item, 0.5).tobytes() == now.scores(item, 0.5).tobytes()
        assert before.scores(item, 0.5).max() > 0


@pytest.mark.parametrize(
    ("content", "categories", "traits"),
    [
        (8, ["a", "b"], None),
        (0, ["a", "b"], 2),
        (0, [str(number) for number in range(50)], 32),
        (0, None, None),
        (0, ["a", "b"], 0),  # each item its own category
    ],
)
def test_the_traits_of_later_items_fit_the_network(
    content: int, categories: list[str] | None, traits: int | None, tmp_path: Path
) -> None:
    from dualrec.alloc.serving_files import _network

    shape = HeadShape(user=3, item=(content or traits or 0) + 2, met=0, heads=1, dim=4)
    save_heads(tmp_path, HeadNetwork(shape), HeadOptions(), "abc")
    heads = [{"kind": "view"}, {"kind": "like"}]
    about = {"learnt": ["like"], "heads": heads, "content": content, "categories": categories}
    found = _network(tmp_path, about, 2)
    assert found is not None and found.place == [1]
    assert (None if found.codes is None else found.codes.shape[1]) == (traits or None)
    token, group = np.array([0, -1]), np.ones((2, 2), np.float32)
    appeal, item_part = found.parts(token, np.ones((2, content), np.float32), group)
    assert appeal.shape == (2, 4) and item_part.shape == (2, 2) and not item_part[:, 0].any()


def test_a_log_of_clicks_that_is_read_as_one_of_exposures_is_noticed() -> None:
    """At exponent 0 a head that is always true says nothing, and all items are alike."""
    click, like = Head("click", 0.0, 0.0, 0.0, 0.0, always=True), Head("like", -2.0, 0.5, 1.0, 1.0)
    chosen, shown = ScoreOptions(), ScoreOptions(interaction_exponent=0.0)
    assert not exposures_without_kinds([click], [1.0], chosen)
    assert not exposures_without_kinds([click, like], [1.0, 1.0], shown)
    assert exposures_without_kinds([click], [1.0], shown) and exposures_without_kinds([click, like], [1.0, 0.0], shown)
