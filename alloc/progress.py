"""Signs of life: bars with the time left on a terminal, one line for each stage elsewhere, nothing for the API."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Task(Protocol):
    """A piece of work with a known length."""

    def advance(self, steps: float = 1) -> None:
        """Say that `steps` more of the total are done."""


class Progress(Protocol):
    """Where the night says what it does."""

    def stage(self, name: str) -> contextlib.AbstractContextManager[None]:
        """A context manager around one stage; says the seconds that it took when it ends well."""

    def task(self, description: str, total: float | None) -> Task:
        """A piece of work of `total` steps (None when not known) inside the present stage."""

    def note(self, text: str) -> None:
        """Show one line of text."""


class NullProgress:
    """Shows nothing."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show nothing."""
        yield

    def task(self, description: str, total: float | None) -> Task:
        """A task that shows nothing."""
        return _SilentTask()

    def note(self, text: str) -> None:
        """Show nothing."""


class LineProgress(NullProgress):
    """One plain line for each stage, for logs; tasks inside a stage are not shown."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file or sys.stderr

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Say the seconds that the stage took, when it ends well."""
        start = time.perf_counter()
        yield
        self.note(_seconds_line(name, start))

    def note(self, text: str) -> None:
        """Print one line."""
        print(text, file=self._file, flush=True)


class BarProgress:
    """Bars with elapsed time and time left, for a terminal."""

    def __init__(self, file: TextIO | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as TimeLeftColumn

        console = Console(file=file or sys.stderr, highlight=False)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeLeftColumn(),
        )
        self._bars: RichProgress = Progress(*columns, console=console, transient=True)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show a bar for the stage and its tasks; leave one line with the seconds when it ends well."""
        start = time.perf_counter()
        self._bars.start()
        self._bars.add_task(name, total=None)
        try:
            yield
        finally:
            for task in self._bars.task_ids:
                self._bars.remove_task(task)
            self._bars.stop()
        self.note(_seconds_line(name, start))

    def task(self, description: str, total: float | None) -> Task:
        """Show a bar of `total` steps until the stage ends."""
        return _BarTask(self._bars, self._bars.add_task(f"  {description}", total=total))

    def note(self, text: str) -> None:
        """Print one line above the bars."""
        self._bars.console.print(text, markup=False, soft_wrap=True)


class _SilentTask:
    def advance(self, steps: float = 1) -> None:
        """Show nothing."""


class _BarTask:
    def __init__(self, bars: "RichProgress", task: "TaskID") -> None:
        self._bars = bars
        self._task = task

    def advance(self, steps: float = 1) -> None:
        """Move the bar on."""
        self._bars.advance(self._task, steps)


def make_progress(file: TextIO | None = None) -> Progress:
    """Bars when `file` (standard error when None) is a terminal, plain lines otherwise."""
    return BarProgress(file) if (file or sys.stderr).isatty() else LineProgress(file)


def _seconds_line(name: str, start: float) -> str:
    return f"{name}: {time.perf_counter() - start:.1f} s"
