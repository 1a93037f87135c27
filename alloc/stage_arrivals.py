"""Stage `arrivals`: the next day's items one by one, by what the night knows, beside the best in hindsight."""

import numpy as np
import torch

from ..models.pair_scores import PairScorer
from ..solvers.online import OnlineRule
from ..solvers.online_prices import UserPrices
from ..solvers.price_rounds import search_candidates
from .arrivals import own_bids, replay_arrivals
from .artifacts import load_array, save_json
from .errors import EmptyDayError
from .new_item import NewItem
from .night_view import NightView, load_view
from .scorer import row_source
from .serving_files import load_item_scorer
from .stage import StageContext
from .stage_candidates import search_options
from .stream_prices import read_stream_prices
from .tables import Tables


def run(context: StageContext) -> None:
    """Write `arrivals.json`: the value of each rule on the scores of the published files, the certified best value, and what
    two rules would reach that know the day: its own prices, left as they are, and its own bids without their order.

    Raises EmptyDayError where the next day has no new items.
    """
    torch.set_num_threads(1)
    view = load_view(context.input("tables"))
    items = view.log.new_items(view.day + 1)
    if not len(items):
        raise EmptyDayError(f"day {view.day + 1} has no new items, which are needed to replay it")
    scorer = _scorer(context, view, items)
    prices = read_stream_prices(context.input("allocation") / "prices.parquet")
    demand = np.full(len(items), context.config.allocation.demand)
    price = np.array(load_array(context.input("allocation") / "user_prices.npy"))
    rules = {
        "first_come": OnlineRule(prices.capacity),
        "prices": OnlineRule(prices.capacity, UserPrices(price, 0.0)),
        "corrected": OnlineRule(prices.capacity, UserPrices(price)),
        "bid_curves": OnlineRule(prices.capacity, prices.curves),
    }
    gone = np.array([prices.gone(int(time)) for time in view.tables.item_time[items]])
    task = context.progress.task("arrivals", len(items))
    values = replay_arrivals(scorer.rows, demand, gone, rules, task.advance)
    options = search_options(context.config)
    found = search_candidates(
        row_source(scorer, context.threads),
        context.config.allocation.demand,
        prices.capacity,
        options,
        threads=context.threads,
        progress=context.progress.task("all pairs", len(items) * (options.rounds + 2)).advance,
    )
    own = found.allocation.user_prices
    known = {
        "own_prices": OnlineRule(prices.capacity, UserPrices(own, 0.0)),
        "own_bids": OnlineRule(
            prices.capacity, own_bids(scorer.rows, demand, own, int(prices.capacity.max(initial=0)))
        ),
    }
    values |= replay_arrivals(scorer.rows, demand, gone, known, context.progress.task("day known", len(items)).advance)
    best = {"value": found.allocation.value, "bound": found.allocation.bound, "gap": found.allocation.gap}
    save_json(context.out / "arrivals.json", {"items": len(items), "values": values, "best": best})


def known_of(tables: Tables, row: int) -> NewItem:
    """What the tables say of an item, as one who uploads it would send it."""
    category, creator, content = (
        None if column is None else column[row]
        for column in (tables.item_category, tables.item_creator, tables.item_content)
    )
    named = creator is not None and creator >= 0 and tables.creators is not None
    return NewItem(
        category=None if category is None or category < 0 else tables.categories[category],
        creator=tables.creators.ids[creator].item() if named and tables.creators is not None else None,
        content=None if content is None else content.tolist(),
    )


def _scorer(context: StageContext, view: NightView, items: np.ndarray) -> PairScorer:
    users = load_array(context.input("retrieval") / "users.npy")
    scorer = load_item_scorer(context.input("serving"), view.tables.users.ids[users])
    moments = (view.log.upload[items] % 1).tolist()
    return scorer.pairs([known_of(view.tables, int(row)) for row in items], moments)
