"""Two islands and a bridge: who may import whom, and what `import dualrec` loads."""

import ast
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("numba", "torch", "ortools", "pandas", "xgboost", "faiss", "matplotlib", "ray")
FORBIDDEN = {"solvers": ("models", "alloc"), "models": ("solvers", "alloc")}

Run = Callable[..., CompletedProcess[str]]


def imported_folders(file: Path) -> set[str]:
    """Folders of the package that a file imports from, absolutely or relatively."""
    names = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level < 2:
            names += [] if node.level else [node.module or ""]
        elif isinstance(node, ast.ImportFrom):
            names += [f"dualrec.{node.module or alias.name}" for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("dualrec.")}


@pytest.mark.parametrize("island", FORBIDDEN)
def test_solvers_and_models_import_neither_each_other_nor_alloc(island: str) -> None:
    files = sorted((ROOT / island).rglob("*.py"))
    assert files
    wrong = [file.name for file in files if imported_folders(file) & set(FORBIDDEN[island])]
    assert not wrong


def test_imports_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "sample.py"
    file.write_text("from ..models import towers\nimport dualrec.alloc.night\nfrom .problem import Problem\n")
    assert imported_folders(file) == {"models", "alloc"}


@pytest.mark.parametrize("folder", ["solvers", "models", "alloc"])
def test_bare_imports_are_refused(folder: str, python_run: Run) -> None:
    done = python_run("-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {folder}")
    assert done.returncode != 0
    assert f"import dualrec.{folder}" in done.stderr


def test_import_dualrec_loads_nothing_heavy(python_run: Run) -> None:
    done = python_run("-c", f"import sys, dualrec; print([name for name in {HEAVY} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_faces_load_when_first_used(python_run: Run) -> None:
    done = python_run("-c", "import dualrec; print(dualrec.Problem.__name__, dualrec.solve.__name__)")
    assert done.stdout.split() == ["Problem", "solve"], done.stderr


def test_the_copies_of_quickselect_are_the_same() -> None:
    """A kernel stands in one file with all that it calls (numba caches a stale callee from another), hence the copies."""
    copies = {
        "all_pairs_kernels": "kth_largest",
        "auction_kernels": "quickselect",
        "certificate_kernels": "sum_of_largest",
        "first_come_kernels": "kth_largest",
        "tile_kernels": "kth_largest",
    }
    loops = set()
    for module, name in copies.items():
        tree = ast.parse((ROOT / "solvers" / f"{module}.py").read_text(encoding="utf-8"))
        (kernel,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
        (loop,) = [node for node in kernel.body if isinstance(node, ast.While)]
        loops.add(ast.dump(loop))
    assert len(loops) == 1


def test_the_copies_of_counting_are_the_same() -> None:
    def kernel(module: str, name: str) -> str:
        tree = ast.parse((ROOT / "solvers" / f"{module}.py").read_text(encoding="utf-8"))
        return next(ast.dump(node) for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)

    for name in ("count_above", "highest", "next_best"):
        assert kernel("block_kernels", name) == kernel("seat_kernels", name)
