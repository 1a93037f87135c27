"""Which night a service starts from, and the watch for the next one that is published."""

import sys
import threading
import time
from pathlib import Path

from .errors import InputError
from .match_store import MatchStore, OtherPeopleError
from .nights import Nights
from .publish import LATEST, MANIFEST, RUNS, find_run
from .serving_names import scorer_of
from .stream import Stream
from .stream_prices import load_stream_prices

LOOK_SECONDS = 2.0
"""Between two looks at what `latest` names."""


def open_nights(out: Path, run: str | None, store: MatchStore) -> Nights:
    """The night of a run by name; with none the latest, and from then on each that is published in ``out``.

    Where the day was opened by an earlier night with other users, that one is in force until the day ends. Raises
    InputError when the run cannot be used, StoreError when the store cannot be reached.
    """
    run_dir = find_run(out, run)
    stream, now = _stream(run_dir, store), int(1000 * time.time())
    nights = Nights(run_dir.name, stream, say)
    if run is not None:
        return nights
    try:
        stream.begin(stream.prices.day(now), now)
    except OtherPeopleError:
        earlier = _of_today(out, run_dir, store, now)
        if earlier is not None:
            nights = Nights(earlier[0], earlier[1], say)
            nights.offer(run_dir.name, stream)
    threading.Thread(target=_watch, args=(nights, out, run_dir, store), daemon=True).start()
    return nights


def say(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"dualrec: {' '.join(text.split())}\n")  # print would write the end of the line by itself
    sys.stderr.flush()


def _stream(run_dir: Path, store: MatchStore, threads: int = 0) -> Stream:
    prices = load_stream_prices(run_dir)
    return Stream(prices, store, scorer_of(run_dir, prices.user_ids), threads=threads)


def _of_today(out: Path, latest: Path, store: MatchStore, now: int) -> tuple[str, Stream] | None:
    """The latest of the other runs that the day was opened for."""
    runs = [path for path in (out / RUNS).iterdir() if (path / MANIFEST).is_file() and path.name != latest.name]
    for run_dir in sorted(runs, key=lambda path: (path / MANIFEST).stat().st_mtime_ns, reverse=True):
        try:
            stream = _stream(run_dir, store)
            stream.begin(stream.prices.day(now), now)
        except OtherPeopleError:
            continue
        except InputError as error:
            say(f"{run_dir.name} is passed over: {error}")
            continue
        return run_dir.name, stream
    return None


def _watch(nights: Nights, out: Path, seen: Path, store: MatchStore) -> None:
    """Offers each run that `latest` comes to name. Never touches the store, which is for one thread."""
    while True:
        time.sleep(LOOK_SECONDS)
        try:
            run_dir = (out / LATEST).resolve()
            if run_dir == seen or not run_dir.is_dir():
                continue
            seen = run_dir
            nights.offer(run_dir.name, _stream(run_dir, store, threads=1))  # beside one that answers
        except (InputError, OSError) as error:
            say(f"the night {seen.name} cannot be used, {nights.name} stays in force: {error}")
