"""The built wheel holds what the tree holds, under the name dualrec."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("alloc", "models", "solvers", "configs")
SUFFIXES = {".py", ".j2", ".yaml"}


@pytest.mark.slow
def test_the_wheel_holds_every_module_template_and_config(tmp_path: Path) -> None:
    source = tmp_path / "source"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {name for name in listed if name.startswith(FOLDERS) and Path(name).suffix in SUFFIXES}
    assert held == {f"dualrec/{name}" for name in wanted | {"__init__.py", "py.typed"}}
