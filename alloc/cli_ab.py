"""`dualrec ab`: assign creators and users to the arms of an A/B test, and compare the arms on what happened."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Assign and analyse A/B tests of users and creators.")

DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


class DesignName(StrEnum):
    """What is split; see `Design`."""

    CO_DIVERTED = "co_diverted"
    USER_DIVERTED = "user_diverted"
    CREATOR_ONLY = "creator_only"


class MethodName(StrEnum):
    """How intervals are made."""

    DELTA = "delta"
    BOOTSTRAP = "bootstrap"


@app.command("assign")
def assign_command(
    *,
    creators: Annotated[Path, typer.Option("--creators", help="Parquet file with creator_id, such as items.parquet.")],
    users: Annotated[Path, typer.Option("--users", help="Parquet file with user_id.")],
    out: Annotated[Path, typer.Option("--out", help="Parquet file to write.")],
    design: Annotated[
        DesignName | None, typer.Option("--design", help="What is split; co_diverted if not said.")
    ] = None,
    shares: Annotated[
        str | None, typer.Option("--shares", help="Arms, the control first; control=0.5,treatment=0.5 if not said.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Another seed, other arms; 0 if not said.")] = None,
    stratum: Annotated[
        str | None,
        typer.Option("--stratum", help="Column of the creators' file to balance; rows: how many rows each has."),
    ] = None,
    users_by: Annotated[
        str | None,
        typer.Option("--users-by", help="shares, creators, or a column: what the arms' users are in proportion to."),
    ] = None,
    apart: Annotated[
        bool, typer.Option("--apart", help="Let a user and a creator of one id be in different arms.")
    ] = False,
    earlier: Annotated[
        Path | None, typer.Option("--earlier", help="An assignment to go on from: its ids keep their arms.")
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Draw an arm for each creator and user.

    An id's arm depends on the seed and the id: the order of the files does not matter. Users and creators who come later
    are given arms with --earlier.
    """
    from .ab_commands import Drawn, assign_files, extend_files
    from .errors import InputError

    asked = {"design": design, "shares": shares, "seed": seed, "stratum": stratum, "users_by": users_by}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    given |= {"together": False} if apart else {}
    if earlier is None:
        print(assign_files(creators, users, Drawn(**given), out))
        return
    if given:
        raise InputError("--earlier settles design, shares, seed and the rest; leave those options out")
    print(extend_files(creators, users, earlier, out))


@app.command("analyse")
def analyse_command(
    *,
    exposures: Annotated[Path, typer.Option("--exposures", help="Parquet file: user_id, item_id, day or time.")],
    items: Annotated[
        Path, typer.Option("--items", help="Parquet file: item_id, creator_id, upload_day or upload_time.")
    ],
    assignment: Annotated[Path, typer.Option("--assignment", help="The file that dualrec ab assign wrote.")],
    first: Annotated[int | None, typer.Option("--from", help="First day of the test; the log's first if none.")] = None,
    last: Annotated[int | None, typer.Option("--to", help="Last day of the test; the log's last if none.")] = None,
    reach: Annotated[str, typer.Option("--reach", help="Exposures X of ExpoReach-X.")] = "1000,5000,10000",
    within: Annotated[int, typer.Option("--within", min=1, help="Days of a new item in which exposures count.")] = 7,
    adjust: Annotated[
        int, typer.Option("--adjust", min=0, help="Days before the test whose figures narrow the intervals (CUPED).")
    ] = 0,
    method: Annotated[MethodName, typer.Option("--method", help="How intervals are made.")] = MethodName.DELTA,
    resamples: Annotated[int, typer.Option("--resamples", min=1, help="Of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Parquet or CSV file for the table.")] = None,
    debug: DebugOption = False,
) -> None:
    """Compare the arms on what users were shown and creators uploaded.

    Prints a line for each metric: both arms, the relative difference, its 95 % interval and p.
    """
    from .ab_commands import Asked, analyse_files, parse_reach

    asked = Asked(first, last, parse_reach(reach), within, adjust, method.value, resamples, seed)
    print(analyse_files(exposures, items, assignment, asked, out))
