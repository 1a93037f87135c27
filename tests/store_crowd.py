"""A crowd of writers on one store, each a process of its own, to be killed; see `store_writer.py`."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

STAND_STILL = ("T", "t")


class Crowd:
    """Writers with a log each in `folder`; none outlives the `with`.

    alive  process id by log
    kills  how many were killed
    """

    def __init__(self, command: list[str], folder: Path, seed: int, day: int, users: int, items: int) -> None:
        """`command`: a script that takes DAY USERS ITEMS, with whatever comes before these."""
        self.folder, self.seed, self.random = folder, seed, random.Random(seed)
        self.alive: dict[Path, int] = {}
        self.started, self.kills = 0, 0
        arguments = [sys.executable, *command, *map(str, (day, users, items))]
        one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        self._forker = subprocess.Popen(
            arguments, env=one_thread, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.alive.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._forker.communicate()

    @property
    def logs(self) -> list[Path]:
        """The logs of all writers, dead or alive."""
        return sorted(self.folder.glob("*.log"))

    @property
    def errors(self) -> list[str]:
        """What the store refused, and the last words of a writer that ended by itself."""
        return [line for path in sorted(self.folder.glob("*.errors")) for line in path.read_text().splitlines()]

    def start(self, count: int = 1) -> None:
        """That many more writers."""
        assert self._forker.stdin and self._forker.stdout
        for _ in range(count):
            log = self.folder / f"{self.started:04}.log"
            self._forker.stdin.write(f"{1000 * self.seed + self.started} {log}\n")
            self.alive[log] = int(self._forker.stdout.readline())
            self.started += 1

    def wait_until_working(self, seconds: float = 60) -> None:
        """Until each writer has an acknowledged answer."""
        end = time.monotonic() + seconds
        while not all(map(has_answers, self.alive)):
            assert time.monotonic() < end, f"a writer without an answer for {seconds} s: {self.errors[-3:]}"
            self.check_alive()
            time.sleep(0.002)

    def check_alive(self) -> None:
        """No writer ends by itself."""
        for log, process in self.alive.items():
            assert state(process), f"{log.name} ended: {self.errors[-30:]}"

    def kill_all(self) -> None:
        """All at once, by `kill -9`."""
        self.kill(*self.alive)

    def kill_one(self) -> bool:
        """A random one, by `kill -9`; whether it had an acknowledged answer before."""
        log = self.random.choice(sorted(self.alive))
        self.kill(log)
        return has_answers(log)

    def kill(self, *logs: Path) -> None:
        """The writers of these logs, which are dead afterwards."""
        self.check_alive()
        processes = [self.alive.pop(log) for log in logs]
        for process in processes:
            os.kill(process, signal.SIGKILL)
        while any(map(state, processes)):
            time.sleep(0.001)
        self.kills += len(processes)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """All writers stand still, wherever they are, and go on afterwards."""
        for process in self.alive.values():
            os.kill(process, signal.SIGSTOP)
        while any(state(process) not in STAND_STILL for process in self.alive.values()):
            self.check_alive()
            time.sleep(0.001)
        yield
        for process in self.alive.values():
            os.kill(process, signal.SIGCONT)


def has_answers(log: Path) -> bool:
    """Whether a writer logged something."""
    return log.exists() and log.stat().st_size > 0


def state(process: int) -> str:
    """The letter that Linux gives to a process's state; empty: there is none any more."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
