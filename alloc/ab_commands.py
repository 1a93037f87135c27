"""What `dualrec ab assign` and `dualrec ab analyse` do."""

from dataclasses import dataclass
from math import isnan
from pathlib import Path

import numpy as np
import pandas as pd

from .ab_analysis import MISMATCH_P, Method, analyse, analysis_table, sample_ratio
from .ab_assign import Assignment, Design, assign
from .ab_files import read_assignment, read_ids, read_log, write_assignment
from .ab_log import Window, crossings
from .ab_metrics import creator_metrics, user_metrics
from .artifacts import write_text
from .errors import InputError
from .parquet import write_parquet
from .show import format_number, format_table

_USERS_BY = ("shares", "creators")


@dataclass(frozen=True)
class Drawn:
    """How arms are drawn: see `assign`. ``stratum``, ``users_by``: a column of the creators' file, summed, or "rows", how
    many rows a creator has; ``users_by`` may be "shares" or "creators" too."""

    design: str = Design.CO_DIVERTED
    shares: str = "control=0.5,treatment=0.5"
    seed: int = 0
    stratum: str | None = None
    users_by: str = "shares"
    together: bool = True


@dataclass(frozen=True)
class Asked:
    """What an analysis is of. ``first``, ``last``: days of the test, those of the exposures where None. ``reach``: the X of
    ExpoReach-X. ``within``: days of an item that count. ``adjust``: days before ``first`` whose values adjust the means."""

    first: int | None = None
    last: int | None = None
    reach: tuple[int, ...] = (1_000, 5_000, 10_000)
    within: int = 7
    adjust: int = 0
    method: Method = "delta"
    resamples: int = 1000
    seed: int = 0


def assign_files(creators: Path, users: Path, drawn: Drawn, out: Path) -> str:
    """Draw arms for creator_id of one file and user_id of another, write them to ``out``, return a table of the arms."""
    _checked_name(out, (".parquet",))
    by = [] if drawn.users_by in _USERS_BY else [drawn.users_by]
    numbers = {*by, *([drawn.stratum] if drawn.stratum else [])}
    ids, sums = read_ids(creators, "creator_id", sorted(numbers))
    found = assign(
        drawn.design,
        parse_shares(drawn.shares),
        drawn.seed,
        ids,
        read_ids(users, "user_id")[0],
        stratum=None if drawn.stratum is None else sums[drawn.stratum],
        users_by="weight" if by else "creators" if drawn.users_by == "creators" else "shares",
        weight=sums[drawn.users_by] if by else None,
        together=drawn.together,
    )
    return _written(found, out)


def extend_files(creators: Path, users: Path, earlier: Path, out: Path) -> str:
    """The assignment of the file ``earlier`` with arms for all ids that have none, written to ``out``; and a table."""
    _checked_name(out, (".parquet",))
    known = read_assignment(earlier)
    found = known.extended(read_ids(creators, "creator_id")[0], read_ids(users, "user_id")[0])
    return _written(found, out)


def analyse_files(exposures: Path, items: Path, assignment: Path, asked: Asked, out: Path | None) -> str:
    """The arms of an assignment compared on a log; the table as text, and in ``out`` (.parquet or .csv) if given."""
    if out is not None:
        _checked_name(out, (".parquet", ".csv"))
    found = read_assignment(assignment)
    log = read_log(exposures, items, found)
    first = int(log.day.min()) if asked.first is None else asked.first
    window = Window(first, int(log.day.max()) if asked.last is None else asked.last)
    if not window.holds(log.day).any():
        raise InputError(f"{exposures}: no exposure on days {window.first} to {window.last}; check --from and --to")
    before = Window(first - asked.adjust, first - 1) if asked.adjust else None
    if before is not None and not before.holds(log.day).any():
        raise InputError(f"{exposures}: no exposure on days {before.first} to {before.last}, which --adjust asks for")
    by_creator = creator_metrics(log, found, window, asked.reach, asked.within, before)
    by_user = user_metrics(log, found, window, before)
    parts = [
        analyse(metrics, arm, found.arms, method=asked.method, resamples=asked.resamples, seed=asked.seed)
        for metrics, arm in ((by_creator, found.creator_arm), (by_user, found.user_arm))
    ]
    parts[1]["metric"] = [f"{name} (users)" if name in by_creator else name for name in parts[1]["metric"]]
    frame = pd.concat(parts, ignore_index=True)
    leaks, shown = crossings(log, found, window), int(window.holds(log.day).sum())
    seen = np.unique(log.user[window.holds(log.day)])
    lines = [_ratio_line(found, seen), analysis_table(frame)]
    if leaks:
        lines.append(f"{leaks:,} of {shown:,} exposures crossed the arms, which were not kept apart")
    if out is not None:
        _write_frame(out, frame)
        lines.append(f"table: {out}")
    return "\n".join(lines)


def parse_shares(text: str) -> dict[str, float]:
    """The shares in "control=0.5,treatment=0.5". Raises InputError."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, equals, share = part.partition("=")
        try:
            value = float(share)
        except ValueError:
            value = float("nan")
        if not equals or isnan(value) or name.strip() in shares:
            raise InputError(f"--shares is {text!r}, expected arms once each with numbers: control=0.5,treatment=0.5")
        shares[name.strip()] = value
    return shares


def parse_reach(text: str) -> tuple[int, ...]:
    """The thresholds in "1000,5000". Raises InputError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts) or len(set(parts)) < len(parts):
        raise InputError(f"--reach is {text!r}, expected whole numbers from 1, each once, such as 1000,5000")
    return tuple(map(int, parts))


def _checked_name(out: Path, suffixes: tuple[str, ...]) -> None:
    if out.suffix not in suffixes:
        raise InputError(f"--out is {out}, expected a name that ends with {' or '.join(suffixes)}")
    if not out.parent.is_dir():
        raise InputError(f"--out is {out}, but there is no folder {out.parent}; make it")


def _written(found: Assignment, out: Path) -> str:
    write_assignment(out, found)
    rows = [("arm", "share", "creators", "users", "user share")]
    arms = [*zip(found.arms, found.shares.values(), found.user_shares, strict=True)]
    for number, (name, share, user_share) in enumerate(arms):
        rows.append((name, f"{share:g}", *_counts(found, number), f"{user_share:.4f}"))
    rows.append(("outside", "", *_counts(found, -1), ""))
    return "\n".join([format_table(rows), f"assignment: {out}"])


def _counts(found: Assignment, number: int) -> tuple[str, str]:
    return format_number(int((found.creator_arm == number).sum())), format_number(int((found.user_arm == number).sum()))


def _ratio_line(found: Assignment, seen: np.ndarray) -> str:
    """How many of each arm there are, and whether that can be chance."""
    lines = []
    sides = (
        ("creators", found.creator_arm, tuple(found.shares.values())),
        ("users", found.user_arm, found.user_shares),
        ("users seen", found.user_arm[seen], found.user_shares),
    )
    for name, arm, shares in sides:
        if not (arm >= 0).any():
            continue
        p = sample_ratio(arm, shares)
        counts = ", ".join(f"{one} {(arm == number).sum():,}" for number, one in enumerate(found.arms))
        warning = "; not the shares that were asked for: the comparison cannot be trusted" if p < MISMATCH_P else ""
        lines.append(f"{name}: {counts} (p {p:.4f}{warning})")
    return "\n".join(lines)


def _write_frame(out: Path, frame: pd.DataFrame) -> None:
    if out.suffix == ".csv":
        write_text(out, frame.to_csv(index=False))
    else:
        write_parquet(out, {name: frame[name].to_numpy() for name in frame.columns})
