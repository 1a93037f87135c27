"""The world's truth: the chances by which its visits and its feedback were drawn."""

import numpy as np
import pytest

from dualrec.alloc.world import make_world
from dualrec.alloc.world_days import Seen, make_feedback
from dualrec.alloc.world_options import WorldOptions
from dualrec.alloc.world_truth import world_truth

OPTIONS = WorldOptions(users=3_000, creators=200, items_per_day=40, days=12, content_dim=8, topics=10)
DAY = 10


def test_as_many_come_as_the_chances_say() -> None:
    tables, truth = make_world(OPTIONS, 3), world_truth(OPTIONS, 3, DAY)
    came = np.zeros(OPTIONS.users, bool)
    there = tables.interactions.user[tables.day_of(tables.interactions.time) == DAY]
    came[there] = True
    spread = np.sqrt((truth.comes * (1 - truth.comes)).sum())
    assert abs(came.sum() - truth.comes.sum()) < 5 * spread
    likely = truth.comes > np.median(truth.comes)
    assert came[likely].mean() > 3 * came[~likely].mean()


def test_rows_are_those_of_the_tables() -> None:
    tables, truth = make_world(OPTIONS, 3), world_truth(OPTIONS, 3, DAY)
    assert len(truth.items.time) == len(tables.items) and len(truth.comes) == len(tables.users)
    assert np.array_equal(truth.items.content, tables.item_content)


@pytest.mark.parametrize("beta", [{"like": 1.0}, {"effective_view": 1.0, "skip": -0.5}, {"view": 2.0, "comment": 3.0}])
def test_expected_feedback_is_the_mean_of_what_is_drawn(beta: dict[str, float]) -> None:
    truth, rng = world_truth(OPTIONS, 3, DAY), np.random.default_rng(0)
    pairs = 40
    item, user = rng.integers(0, len(truth.items.time), pairs), rng.integers(0, OPTIONS.users, pairs)
    seen = Seen(np.repeat(user, 4_000), np.repeat(item, 4_000), np.zeros(pairs * 4_000, np.int64))
    kinds = make_feedback(truth.users, truth.items, seen, rng)
    drawn = sum(weight * kinds[kind].reshape(pairs, -1).mean(1) for kind, weight in beta.items())
    np.testing.assert_allclose(truth.feedback(item, user, beta), drawn, atol=0.04 * sum(map(abs, beta.values())))


def test_blurred_content_is_near_what_the_item_is() -> None:
    for blur, least, most in ((0.0, 1.0, 1.0), (0.5, 0.8, 0.97), (3.0, 0.1, 0.6)):
        items = world_truth(OPTIONS.model_copy(update={"content_blur": blur}), 3, 0).items
        cosine = np.einsum("nd,nd->n", items.content, items.appeal).mean()
        assert least - 1e-6 <= cosine <= most + 1e-6
