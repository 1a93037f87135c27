"""The command line. Commands load what they need when they run, so that help is quick.

Exit codes: 0 done; 1 a fault of the program; 2 bad input or a disk that cannot be used; 130 interrupted.
"""

import errno
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .cli_ab import app as ab


class Device(StrEnum):
    """Where the search over all pairs and the auction run."""

    CPU = "cpu"
    CUDA = "cuda"
    AUTO = "auto"


ConfigOption = Annotated[
    str, typer.Option("--config", help="A YAML file, or a shipped config: nightly, globo, deskdrop, kuairand.")
]
DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of the data; the same as data.path=DIR.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the runs; the same as out=DIR.")]
StoreOption = Annotated[str, typer.Option("--store", help="A file (made if need be), or redis://host:port/0.")]
RunOption = Annotated[
    str | None,
    typer.Option("--run", help="The night to start from: a run's name or folder; if none, always the latest."),
]
DeviceOption = Annotated[
    Device | None,
    typer.Option("--device", help="Where training, exact search and auction run; device=NAME. Without a GPU: the CPU."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, as in allocation.gap=0.01 seed=3.")
]

# Exported by typer only through this subclass: the error of a command line that cannot be read.
_UsageError = typer.BadParameter.__bases__[0]


class Scores(StrEnum):
    """What an evaluation scores the pairs with."""

    MODEL = "model"
    CATEGORY = "category"


_EVALUATIONS = {
    Scores.MODEL: "dualrec.alloc.evaluate_days:evaluate_days",
    Scores.CATEGORY: "dualrec.alloc.evaluate_category:evaluate_category",
}

_ARRIVALS = "dualrec.alloc.evaluate_arrivals:evaluate_arrivals"

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    name="dualrec",
    help="Which users for this item? The first viewers of every new upload, as one certified assignment.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(ab, name="ab")


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line on `arguments`, print one line for an error, and return the exit code."""
    # Read by OpenMP once, when the first library that uses it loads: threads that wait must not hold the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(arguments or ["--help"], prog_name="dualrec", standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):  # typer's releases differ in what becomes of an interrupt
        code = 130
    except Exception as error:
        if "--debug" in arguments:
            import traceback

            traceback.print_exc()
        code, line = _explain(error)
        print(f"dualrec: {line}", file=sys.stderr)
        return code
    if code == 130:
        print("dualrec: interrupted; run the same command again to continue", file=sys.stderr)
    return code


def _explain(error: Exception) -> tuple[int, str]:
    """The exit code and the one line for an error."""
    if isinstance(error, _UsageError):
        return 2, f"{_one_line(_usage_message(error))}; see dualrec --help"
    if isinstance(error, OSError):
        place = f": {error.filename}" if error.filename else ""
        cure = "; free some space and run the same command again" if error.errno in _FULL else ""
        return 2, _one_line(f"{error.strerror or error}{place}{cure}")
    # By name: loading the packages that define them, only to compare, could itself fail.
    if {kind.__name__ for kind in type(error).__mro__} & {"InputError", "ProblemError"}:
        return 2, _one_line(str(error))
    kind = type(error).__name__
    return 1, f"unexpected {kind}: {_one_line(str(error))}; use --debug for the traceback"


def _usage_message(error: Any) -> str:
    return str(error.format_message())


def _one_line(text: str) -> str:
    return " ".join(text.split())


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from .. import __version__

        print(f"dualrec {__version__}")


@app.command()
def nightly(
    *,
    config: ConfigOption = "nightly",
    data: DataOption = None,
    day: Annotated[
        int | None,
        typer.Option(
            "--day",
            help="Local day whose new items are matched; data.day=D. If none: the last that the data can judge.",
        ),
    ] = None,
    out: OutOption = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", help="Where stages compute: local, threads or ray; the same as engine=NAME."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Workers of the engines threads and ray; the same as workers=N.")
    ] = None,
    device: DeviceOption = None,
    debug: DebugOption = False,
    overrides: Overrides = None,
) -> None:
    """Match the new items of one day with users.

    The run is published whole, and OUT/latest points at it. A run that was killed continues where it stopped when the
    same command is given again. One that was published already is not computed again.
    """
    from .config import load_config
    from .errors import InputError
    from .night import run_night
    from .progress import make_progress
    from .show import run_summary

    chosen = {"engine": engine, "workers": workers}
    named = [f"{key}={json.dumps(value)}" for key, value in chosen.items() if value is not None]
    settings = load_config(config, [*_overrides(data, out, overrides, day, device), *named])
    if workers is not None and settings.engine == "local":
        raise InputError(f"--workers {workers} needs --engine threads or ray; the engine is local")
    result = run_night(settings, make_progress())
    print(run_summary(result.run_dir, result.metrics))


@app.command()
def evaluate(
    *,
    days: Annotated[str, typer.Option("--days", help="Days to evaluate, such as 8,9,10 or 30-132.")],
    config: ConfigOption = "nightly",
    data: DataOption = None,
    out: OutOption = None,
    scores: Annotated[
        Scores,
        typer.Option(
            "--scores", help="The night's models, or the user's share of the item's category times P(active)."
        ),
    ] = Scores.MODEL,
    arrivals: Annotated[
        bool,
        typer.Option(
            "--arrivals", help="Give each day's items to the stream in order of arrival, by the night before."
        ),
    ] = False,
    debug: DebugOption = False,
    overrides: Overrides = None,
) -> None:
    """Compare the nights of several days with the truth.

    Runs the night of each day, and sets each allocation beside what users did afterwards. With --scores category nothing
    is trained but the activity model: what is compared is the allocation alone, with first come on the same scores. With
    --arrivals each day's items come one by one, at the scores and prices of the night before, beside the best in hindsight.
    """
    from .config import load_config
    from .progress import make_progress
    from .stage import resolve

    settings = load_config(config, _overrides(data, out, overrides))
    chosen = _days(days)
    if arrivals and scores is not Scores.MODEL:
        raise typer.BadParameter("--arrivals scores by the night's models; leave --scores out")
    place = _ARRIVALS if arrivals else _EVALUATIONS[scores]
    print(resolve(place)(settings, chosen, make_progress()))


@app.command("evaluate-heads")
def evaluate_heads(
    *,
    config: ConfigOption = "kuairand",
    data: DataOption = None,
    out: OutOption = None,
    debug: DebugOption = False,
    overrides: Overrides = None,
) -> None:
    """Compare rankers of the feedback heads.

    Trains them on the days before the last ranker.test_days, and prints each head's AUC, Brier score and calibration there.
    """
    from .config import load_config
    from .evaluate_heads import evaluate_heads as judge
    from .progress import make_progress

    print(judge(load_config(config, _overrides(data, out, overrides)), make_progress()))


@app.command("tune-beta")
def tune_beta(
    *,
    outcome: Annotated[
        str, typer.Option("--outcome", help="What each kind of feedback counts, as in like=1,comment=2,follow=2.")
    ],
    config: ConfigOption = "nightly",
    data: DataOption = None,
    out: OutOption = None,
    share: Annotated[float, typer.Option("--share", help="Share of each item's exposures that is chosen.")] = 0.2,
    tries: Annotated[int, typer.Option("--tries", help="Weights that are tried.")] = 200,
    debug: DebugOption = False,
    overrides: Overrides = None,
) -> None:
    """Seek weights of the heads (score.beta) on past exposures.

    Chooses each item's best exposures by the score, on half of the items, and judges what they brought on the other half;
    skips may not rise, nor effective views fall.
    """
    from .config import load_config
    from .progress import make_progress
    from .tune_beta import read_outcome, tune

    settings = load_config(config, _overrides(data, out, overrides))
    print(tune(settings, read_outcome(outcome), share, tries, make_progress()))


@app.command()
def experiment(
    *,
    versions: Annotated[
        str,
        typer.Option(
            "--versions", help="Configs by name or path, each with settings of its own: v1,v2,v1+activity.mode=none."
        ),
    ] = "base,v1,v2,v3,v4,v5,nightly",
    seeds: Annotated[int, typer.Option("--seeds", help="Seeds of each version, from the config's own on.")] = 1,
    data: DataOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs.")] = Path("out"),
    debug: DebugOption = False,
    overrides: Overrides = None,
) -> None:
    """Compare versions of the system in one table.

    Runs the night of each config on each seed and prints the mean and the spread of hit rate, coverage, ranking AUC,
    shares by retrieval and, on the built-in world, the feedback that the matches can expect.
    """
    from .experiment import read_versions, run_experiment
    from .progress import make_progress

    print(run_experiment(read_versions(versions, _overrides(data, None, overrides)), seeds, out, make_progress()))


@app.command()
def simulate(
    *,
    config: Annotated[
        str,
        typer.Option("--config", help="A YAML file, or a shipped config: platform, platform_paper, platform_tests."),
    ] = "platform",
    out: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path("out"),
    debug: DebugOption = False,
    overrides: Overrides = None,
) -> None:
    """Run policies in a simulated platform for weeks and compare what becomes of creators and users.

    Users, creators and a user-side recommender react to each other day after day; policies start from the same day and
    meet the same luck. Writes OUT/simulation/report.html. A simulation that was stopped goes on after the policies that
    were done.
    """
    from .progress import make_progress
    from .simulation.simulate import simulate as run_simulation
    from .simulation.simulation_config import load_simulation

    print(run_simulation(load_simulation(config, overrides or []), out, make_progress()))


@app.command()
def stream(
    *,
    store: StoreOption,
    run: RunOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs.")] = Path("out"),
    source: Annotated[
        str,
        typer.Option(
            "--input",
            help="File of uploads, one JSON object a line; - = standard input; or a Redis stream, "
            "redis://host:port/0?stream=NAME.",
        ),
    ] = "-",
    demand: Annotated[int, typer.Option("--demand", min=0, help="Users wanted where an upload does not say.")] = 200,
    debug: DebugOption = False,
) -> None:
    """Find users for uploads between nights, as they come.

    Each line such as {"item": "i7", "users": [3, 9], "scores": [0.4, 0.2]} is answered by one line on standard output with
    the users that the item got, once that is on disk. The same item again gets the same answer. Ctrl-C or SIGTERM ends
    after the upload at hand.

    From a Redis stream the uploads are the field "upload" of its entries, and answers go to the stream NAME:answers. Any
    number of processes share the entries; what one of them leaves behind when it dies another takes over. More after the
    ? of the address: group=, answers=, consumer=, claim=SECONDS.
    """
    from .stream_lines import answer_lines

    answer_lines(out, run, store, source, demand)


@app.command()
def serve(
    *,
    store: StoreOption,
    run: RunOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs.")] = Path("out"),
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others than loopback need a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8300,
    debug: DebugOption = False,
) -> None:
    """Serve uploads between nights over HTTP.

    POST /items allocates, GET /users/ID/matches and POST /users/ID/shown are for the app, /health and /metrics for
    operations, /docs shows them. With the variable DUALREC_API_KEY set every request but /health must bring it.
    """
    from .serve import serve as run_service

    run_service(out, run, store, host, port)


@app.command()
def show(
    *,
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run's name or folder; the latest if none.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs.")] = Path("out"),
    debug: DebugOption = False,
) -> None:
    """Check a published run and print its table."""
    from .artifacts import load_json
    from .publish import find_run, verify_run
    from .show import run_summary

    run_dir = find_run(out, run)
    verify_run(run_dir)
    print(run_summary(run_dir, load_json(run_dir / "metrics.json")))


@app.command()
def world(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder to write users, items and interactions into.")],
    config: ConfigOption = "nightly",
    debug: DebugOption = False,
    overrides: Overrides = None,
) -> None:
    """Write the built-in world as Parquet files.

    They have the generic schema: an example of the data to bring.
    """
    from .config import load_config
    from .generic_writer import write_tables
    from .world import make_world

    settings = load_config(config, overrides or [])
    out.mkdir(parents=True, exist_ok=True)  # before the world is made, which takes a while
    write_tables(make_world(settings.data.world, settings.seed), out)
    print(f"world: {out}")


def _overrides(
    data: Path | None,
    out: Path | None,
    overrides: list[str] | None,
    day: int | None = None,
    device: Device | None = None,
) -> list[str]:
    """The options that stand for settings, as overrides after those given by name. JSON quotes as YAML does."""
    named = {
        "data.path": None if data is None else json.dumps(str(data)),
        "data.day": None if day is None else str(day),
        "device": None if device is None else device.value,
        "out": None if out is None else json.dumps(str(out)),
    }
    return [*(overrides or []), *(f"{key}={value}" for key, value in named.items() if value is not None)]


def _days(text: str) -> tuple[int, ...]:
    """The days in "8,9,10" or "30-132". Raises InputError."""
    from .errors import InputError

    days: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise InputError(f"--days is {text!r}, expected day numbers such as 8,9,10 or a range such as 30-132")
        days += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(days))
