"""One run at a time on an output folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dualrec.alloc.errors import InputError
from dualrec.alloc.lock import LOCK, run_lock

HOLD = """
import sys, time
from pathlib import Path
from dualrec.alloc.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process.stdout:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()
        process.wait()


def test_the_second_run_is_refused_with_the_first_ones_number(holder: subprocess.Popen, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"in use by process {holder.pid};"), run_lock(tmp_path):
        pass


def test_a_killed_run_leaves_no_lock(holder: subprocess.Popen, tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    with run_lock(tmp_path):
        assert int((tmp_path / LOCK).read_text()) == os.getpid()


def test_the_lock_ends_with_its_block_even_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path):
        raise ZeroDivisionError
    with run_lock(tmp_path):
        pass


def test_other_folders_are_free(holder: subprocess.Popen, tmp_path: Path) -> None:
    with run_lock(tmp_path / "other"):
        pass


def test_the_moment_before_the_holder_wrote_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file may be empty, or hold the number of an earlier run that has ended, for a moment."""
    monkeypatch.setattr("dualrec.alloc.lock._PATIENCE_SECONDS", 0.05)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for text in ("", f"{ended.pid}\n"):
        with run_lock(tmp_path):
            (tmp_path / LOCK).write_text(text)
            with pytest.raises(InputError, match="in use by an unknown process"), run_lock(tmp_path):
                pass


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"cannot write in .*file"), run_lock(out):
            pass
