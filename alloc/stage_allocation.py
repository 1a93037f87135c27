"""Stage `allocation`: who gets it, with the certificate, as the published tables."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from ..solvers.allocation import Allocation, Status
from ..solvers.candidate_lists import CODES
from ..solvers.certificate import relative_gap
from ..solvers.distributed.solver import Distributed
from ..solvers.online_prices import bid_curves
from ..solvers.problem import Problem
from ..solvers.solve import solve
from ..solvers.step import Solver
from .artifacts import load_array, load_json, save_arrays, save_json
from .config import AllocationOptions
from .device import auction_on
from .night_view import NightView, load_view
from .parquet import write_parquet
from .schema import ARRIVALS_KEY, DAY_START_KEY, QUARTERS, SCHEMA_VERSION
from .sources import SOURCES
from .stage import StageContext


def run(context: StageContext) -> None:
    """Write `matches.parquet`, `prices.parquet`, the matches as rows, and `allocation.json`."""
    view, folder = load_view(context.input("tables")), context.input("candidates")
    options, about = context.config.allocation, load_json(folder / "candidates.json")
    arrays = {name: np.array(load_array(folder / f"{name}.npy")) for name in ("indptr", "user", "score", "capacity")}
    problem = Problem.from_csr(arrays["indptr"], arrays["user"], arrays["score"], options.demand, arrays["capacity"])
    searched = np.array(load_array(folder / "chosen.npy"))
    prices = np.array(load_array(folder / "prices.npy"))
    threads, device = context.threads, context.config.device
    workers = _workers(context)
    allocation = allocate(problem, options, prices, searched, about, threads=threads, workers=workers, device=device)
    if allocation.status is Status.INTERRUPTED:
        raise KeyboardInterrupt  # half a solve is not a night's answer
    item, user = problem.item_of(allocation.chosen), problem.user[allocation.chosen]
    save_arrays(context.out, item=item, user=user, user_prices=allocation.user_prices)
    write_matches(context, view, allocation, load_array(folder / "found.npy")[allocation.chosen])
    write_prices(context, view, allocation)
    save_json(context.out / "allocation.json", figures(allocation, about))


def allocate(
    problem: Problem,
    options: AllocationOptions,
    prices: np.ndarray,
    searched: np.ndarray,
    about: dict[str, object],
    *,
    threads: int = 0,
    workers: Distributed | None = None,
    device: str = "cpu",
) -> Allocation:
    """The allocation over the candidates by the solver of the config (the auction: on `device`), with the smaller of the two
    bounds.

    ``workers`` take the place of the auction of one process, and always solve.
    With the auction the search's own answer stands where it is certified over all pairs already, and where it is worth more
    than a solve of its last candidates; so the value is never below first come's.
    """
    bound, covers = float(about["bound"]), str(about["covers"])  # type: ignore[arg-type]
    found = Allocation(problem, searched, prices, "auction", Status.WITHIN_GAP, bound, 0.0, covers)
    auction = options.solver == "auction"
    if auction and workers is None and found.gap <= options.gap:
        return found
    start: np.ndarray | None = prices if auction else None
    solver: str | Solver = (workers or auction_on(device)) if auction else options.solver
    gap, limit = options.gap, options.time_limit
    solved = solve(problem, solver, gap=gap, time_limit=limit, start_prices=start, threads=threads)
    if auction and found.value > solved.value:
        solved = replace(solved, chosen=searched)
    if bound < solved.bound:  # a bound over all pairs holds for these candidates too
        solved = replace(solved, bound=bound, bound_covers=covers, user_prices=prices)
    reached = solved.gap <= options.gap and solved.status is not Status.OPTIMAL
    return replace(solved, status=Status.WITHIN_GAP) if reached else solved


def _workers(context: StageContext) -> Distributed | None:
    """The distributed auction on the night's engine, shards and messages in the run's folder; None if it is local."""
    engine = context.engine
    if engine.name == "local":
        return None
    engine.rest()  # its workers' processors are needed
    return Distributed(workers=engine.workers, engine=engine.name, folder=str(context.out))


def figures(allocation: Allocation, about: dict[str, object]) -> dict[str, object]:
    """The certificate and the counts of the allocation, as in metrics.json; what is said of all pairs only where a search
    looked at all of them."""
    bound = float(about["bound"])  # type: ignore[arg-type]
    everything = {"bound_all_pairs": bound, "gap_all_pairs": relative_gap(allocation.value, bound)}
    return {
        "solver": allocation.solver,
        "status": allocation.status.value,
        "status_sentence": allocation.status.sentence,
        "value": allocation.value,
        "bound": allocation.bound,
        "gap": allocation.gap,
        "bound_covers": allocation.bound_covers,
        **(everything if about.get("covers", "all pairs") == "all pairs" else {}),
        "matches": allocation.matches,
        "items_full": allocation.items_full,
        "items_short": allocation.items_short,
        "users_at_capacity": allocation.users_at_capacity,
    }


def write_matches(context: StageContext, view: NightView, allocation: Allocation, found: np.ndarray) -> None:
    """One row a match: item, user, score, P(active), the search that found it first and in which round, rank from 1."""
    folder = context.input("retrieval")
    users, items = load_array(folder / "users.npy"), load_array(folder / "items.npy")
    problem, chosen = allocation.problem, allocation.chosen
    item, user, score = problem.item_of(chosen), problem.user[chosen], problem.score[chosen]
    order = np.lexsort((user, -score, item))
    item, user = item[order], user[order]
    p_active = load_array(context.input("activity") / "p_active.npy")[users]
    names = np.array([SOURCES[code] for code in sorted(SOURCES)])
    columns = {
        "item": view.tables.items.ids[items[item]],
        "user": view.tables.users.ids[users[user]],
        "score": score[order],
        "p_active": p_active[user],
        "source": names[np.searchsorted(sorted(SOURCES), found[order] % CODES)],
        "round": (found[order] // CODES).astype(np.int32),
        "rank": (np.arange(len(item)) - np.searchsorted(item, item) + 1).astype(np.int32),
    }
    _write(context, "matches.parquet", columns)


def write_prices(context: StageContext, view: NightView, allocation: Allocation) -> None:
    """One row a known user: price of one more place, capacity, load, and the largest bids of the night's items for it.

    The metadata say how many items each quarter of an hour of the day brought: with the bids what a `Stream` needs.
    """
    folder = context.input("retrieval")
    users, items = load_array(folder / "users.npy"), load_array(folder / "items.npy")
    bids = bid_curves(allocation).bids
    quarters = np.bincount((view.log.upload[items] % 1 * QUARTERS).astype(np.int64), minlength=QUARTERS)
    columns = {
        "user": view.tables.users.ids[users],
        "price": allocation.user_prices,
        "capacity": allocation.problem.capacity,
        "load": allocation.user_load.astype(np.int32),
        "bids": bids,
    }
    about = {ARRIVALS_KEY: " ".join(map(str, quarters.tolist())), DAY_START_KEY: str(view.tables.day_start)}
    _write(context, "prices.parquet", columns, about)


def _write(
    context: StageContext, name: str, columns: dict[str, np.ndarray], about: Mapping[str, str] | None = None
) -> None:
    arrow = {key: _column(values) for key, values in columns.items()}
    write_parquet(context.out / name, arrow, {"dualrec.schema_version": str(SCHEMA_VERSION), **(about or {})})


def _column(values: np.ndarray) -> pa.Array:
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.array(values.tolist() if values.dtype.kind == "U" else values)
