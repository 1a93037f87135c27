"""Fixtures that several test files use."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

TOY_NIGHT = Path(__file__).with_name("toy_night.py")


@pytest.fixture(scope="session")
def toy_night() -> ModuleType:
    """The module tests/toy_night.py: a night of three small stages."""
    spec = importlib.util.spec_from_file_location("toy_night", TOY_NIGHT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def python_run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run this Python on arguments in another process; `environment` is added to the present one."""

    def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
        )

    return run


@pytest.fixture
def kill_run() -> Callable[..., tuple[bool, float]]:
    """Start a night in another process and `kill -9` it; whoever reads `latest` meanwhile must see a whole run.

    `kill_run(arguments, out, seconds, **environment)` runs this Python on `arguments`, waits until that process holds
    `out` and then `seconds` more, checking `out/latest` again and again. It returns whether the kill came before the
    night's end, and the seconds for which the process held `out`.
    """

    def run(arguments: list[str], out: Path, seconds: float, **environment: str) -> tuple[bool, float]:
        published = (out / "latest").is_symlink()
        process = subprocess.Popen(
            [sys.executable, *arguments], env={**os.environ, **environment}, stdout=subprocess.DEVNULL
        )
        try:
            while process.poll() is None and _lock_holder(out) != process.pid:
                time.sleep(0.002)
            start = time.monotonic()
            while process.poll() is None and time.monotonic() - start < seconds:
                _check_latest(out, published)
                time.sleep(0.002)
            held = time.monotonic() - start
        finally:
            process.kill()
        code = process.wait()
        _check_latest(out, published)
        assert code in (0, -9), f"the night ended with exit code {code}"
        return code == -9, held

    return run


def _lock_holder(out: Path) -> int | None:
    try:
        return int((out / ".lock").read_text())
    except (FileNotFoundError, ValueError):
        return None


def _check_latest(out: Path, published: bool) -> None:
    """Whatever `latest` points at now is whole; only before the first night may there be none."""
    from dualrec.alloc.publish import verify_run

    if published or (out / "latest").is_symlink():
        verify_run((out / "latest").resolve())
