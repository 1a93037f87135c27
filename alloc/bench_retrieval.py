"""The search over all pairs of a seeded instance, exact and approximate: `python -m dualrec.alloc.bench_retrieval`.

Prints what one exact pass costs beside the bare matrix product with top-k, then for each search the value against first
come's, the gap, the rounds and the seconds spent in asking. Needs 4 (dim + 3) bytes a user and item, and the candidates.
"""

import argparse
import resource
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..models.inner_product import InnerProduct
from ..models.torch_threads import each_on_one_thread
from ..models.user_lists import user_lists
from ..solvers.candidate_source import CandidateSource
from ..solvers.dense_instances import Dense, DensePairs
from ..solvers.list_source import ListSource
from ..solvers.price_rounds import PriceRounds, search_candidates
from ..solvers.search_result import Round, SearchResult
from ..solvers.threads import cores
from ..solvers.tile_source import Tile, TileSource

BARE_BLOCKS = (16, 64, 256)
"""Items multiplied at once by the bare product; the quickest counts."""


def scores_of(pairs: DensePairs) -> InnerProduct:
    """The scores of an instance, the users' base as one more dimension."""
    item = np.concatenate([pairs.item, np.ones((len(pairs.item), 1), np.float32)], 1)
    return InnerProduct(item, np.concatenate([pairs.user, pairs.base[:, None]], 1))


def exact(scores: InnerProduct) -> TileSource:
    """All pairs, a tile at a time; products run on one thread a block of items."""
    return TileSource(tile_of(scores), scores.items, scores.users)


def tile_of(scores: InnerProduct) -> Tile:
    """Its tiles for a source that asks for several at once."""
    return each_on_one_thread(lambda items, first, last: scores.tile(items, first, last).numpy())


def approximate(scores: InnerProduct, lists: int, probes: int) -> ListSource:
    """The pairs of each item with the users of the lists nearest to it."""
    made = user_lists(scores.user_vector, lists)
    listed = InnerProduct(scores.item_vector, scores.user_vector[made.order])
    nearest = made.nearest(scores.item_vector, probes)
    return ListSource(tile_of(listed), made.order, made.bounds, nearest)


def bare_seconds(scores: InnerProduct, items: int, count: int) -> float:
    """Seconds of torch's product of so many items with all users and its top-k, in the best of BARE_BLOCKS."""
    item, columns = torch.from_numpy(scores.item_vector), torch.from_numpy(scores.user_vector).T.contiguous()
    best = np.inf
    torch.set_num_threads(cores())
    for block in BARE_BLOCKS:
        begin = time.perf_counter()
        for at in range(0, items, block):
            torch.topk(item[at : min(at + block, items)] @ columns, count, dim=1)
        best = min(best, time.perf_counter() - begin)
    return best


def pass_line(scores: InnerProduct, items: int, count: int) -> str:
    """One exact pass of so many items beside the bare product with top-k."""
    source = exact(scores)
    source.best(np.arange(min(32, items)), np.zeros(source.users), count)
    begin = time.perf_counter()
    source.best(np.arange(items), np.zeros(source.users), count)
    ours = time.perf_counter() - begin
    bare = bare_seconds(scores, items, count)
    seconds = f"{ours:.1f} s, bare product with top-k {bare:.1f} s, {ours / bare:.2f} x"
    return f"one pass of {items:,} items, {count} users each: {seconds}"


def timed_search(make: Callable[[], CandidateSource], given: argparse.Namespace) -> tuple[SearchResult, float, float]:
    """The result, seconds in all, and those of asking: making the source, first come's pass, and the rounds' searches."""
    begin = time.perf_counter()
    source = make()
    made = time.perf_counter() - begin
    options = PriceRounds(given.candidates, given.candidates, given.rounds, given.gap)

    def told(record: Round) -> None:
        print(
            f"  round {record.round}: {record.edges:,} candidates, value {record.value:,.0f}, "
            f"gap {record.gap_all_pairs:.2e}, {record.seconds:.1f} s, of which asking {record.search_seconds:.1f} s",
            flush=True,
        )

    capacity = np.full(source.users, given.capacity)
    found = search_candidates(source, given.demand, capacity, options, on_round=told)
    asking = made + found.first_come_seconds + sum(record.search_seconds for record in found.rounds)
    return found, time.perf_counter() - begin, asking


def main(words: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for."""
    given = arguments(words)
    dense = Dense(items=given.items, users=given.users)
    scores = scores_of(dense.draw(given.seed))
    print(f"{given.items:,} items x {given.users:,} users, demand {given.demand}, capacity {given.capacity}")
    if given.pass_items:
        print(pass_line(scores, given.pass_items, given.candidates), flush=True)
    makers: dict[str, Callable[[], CandidateSource]] = {
        "exact": lambda: exact(scores),
        "approximate": lambda: approximate(scores, given.lists, given.probes),
    }
    results: dict[str, tuple[SearchResult, float, float]] = {}
    for name in given.search.split(","):
        print(name)
        results[name] = timed_search(makers[name], given)
        found, seconds, asking = results[name]
        value = found.allocation.value
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        recall = "" if found.recall is None else f", recall {found.recall:.3f}"
        print(
            f"  {value / found.first_come.value:.3f} x first come, gap over {found.covers} "
            f"{found.allocation.gap:.2e}{recall}, {found.allocation.matches:,} matches, "
            f"{seconds:.0f} s, asking {asking:.1f} s, peak {peak:.1f} GiB",
            flush=True,
        )
    if len(results) == 2:
        (rough, _, little), (best, _, much) = results["approximate"], results["exact"]
        share = rough.allocation.value / best.allocation.value
        print(f"approximate: {share:.4f} of the exact value, asking {much / little:.1f} x quicker")


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m dualrec.alloc.bench_retrieval", description=__doc__)
    parser.add_argument("--items", type=int, default=3_000)
    parser.add_argument("--users", type=int, default=40_000)
    parser.add_argument("--demand", type=int, default=100)
    parser.add_argument("--capacity", type=int, default=10)
    parser.add_argument("--candidates", type=int, default=300, help="users of the first lists and of each round")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--gap", type=float, default=1e-3)
    parser.add_argument("--search", default="exact,approximate")
    parser.add_argument("--lists", type=int, default=256)
    parser.add_argument("--probes", type=int, default=16)
    parser.add_argument("--pass-items", type=int, default=0, help="items of the pass measured beside the bare product")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
