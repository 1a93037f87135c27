"""dualrec: which users for this item? Certified capacitated assignment of new uploads to users.

>>> import dualrec
>>> item, user, score = ["a", "a", "a", "b", "b"], ["u", "v", "w", "u", "v"], [0.9, 0.8, 0.1, 0.85, 0.2]
>>> problem = dualrec.Problem.from_edges(item, user, score, demand=2, capacity=1)
>>> allocation = dualrec.solve(problem, "auction", gap=1e-3)
>>> allocation.pairs()["user"].tolist(), round(allocation.value, 2), allocation.gap <= 1e-3
(['v', 'w', 'u'], 1.75, True)

The names below are loaded when first used, so ``import dualrec`` is quick and pulls in no heavy library.
"""

import importlib

__version__ = "0.1.0"

_WHERE = {
    "Problem": "solvers.problem",
    "solve": "solvers.solve",
    "solve_near": "solvers.churn",
    "NearAllocation": "solvers.near_allocation",
    "certify": "solvers.certificate",
    "upper_bound": "solvers.certificate",
    "Allocation": "solvers.allocation",
    "Auction": "solvers.auction",
    "MinCostFlow": "solvers.min_cost_flow",
    "Lp": "solvers.lp",
    "Greedy": "solvers.greedy",
    "FirstCome": "solvers.first_come",
    "Local": "solvers.local",
    "FairRec": "solvers.fair_rec",
    "MaxMin": "solvers.max_min",
    "MirrorDescent": "solvers.mirror_descent",
    "DeviceAuction": "solvers.device_auction",
    "Distributed": "solvers.distributed.solver",
    "solve_shards": "solvers.distributed.sharded",
    "write_shards": "solvers.distributed.shard_writer",
    "new_shards": "solvers.distributed.shard_writer",
    "OnlineRule": "solvers.online",
    "UserPrices": "solvers.online_prices",
    "BidCurves": "solvers.online_prices",
    "bid_curves": "solvers.online_prices",
    "Status": "solvers.allocation",
    "ProblemError": "solvers.errors",
    "AllocationError": "solvers.errors",
    "SolverError": "solvers.errors",
    "Tables": "alloc.tables",
    "InputError": "alloc.errors",
    "load_config": "alloc.config",
    "read_tables": "alloc.readers",
    "run_night": "alloc.night",
}

__all__ = ["__version__", *_WHERE]  # noqa: PLE0604 (the keys are strings)


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'dualrec' has no attribute {name!r}; it has: {', '.join(sorted(_WHERE))}")
    value = getattr(importlib.import_module(f"dualrec.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
