"""The notebooks run from top to bottom, and what is committed of them was run."""

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
DRAWINGS = {"solver_comparison": 6, "closed_loop": 4, "ab_designs": 1}
"""Notebook -> how many cells draw, at least."""

MOST_BYTES = 500_000


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(cell: Any, kind: str) -> list[Any]:
    return [output for output in cell.outputs if output.output_type == kind]


def shape_of_outputs(notebook: Any) -> list[tuple[int, int]]:
    """For each code cell, how many figures and streams it left."""
    return [
        (
            sum("image/png" in output.data for output in outputs_of(cell, "display_data")),
            len(outputs_of(cell, "stream")),
        )
        for cell in code_cells(notebook)
    ]


@pytest.fixture(params=DRAWINGS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def committed(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def test_all_notebooks_are_tested() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(DRAWINGS)


def test_it_runs_at_a_small_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a warning, with a figure wherever the committed run has one, and the same words before the figures."""
    monkeypatch.setenv("DUALREC_NOTEBOOK", "small")
    fresh = committed(name)
    for cell in code_cells(fresh):
        cell.outputs, cell.execution_count = [], None
    NotebookClient(fresh, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
    written = [output for cell in code_cells(fresh) for output in outputs_of(cell, "stream") if output.name == "stderr"]
    assert not written, written
    assert shape_of_outputs(fresh) == shape_of_outputs(committed(name))


def test_the_committed_outputs_are_those_of_one_run(name: str) -> None:
    cells = code_cells(committed(name))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in outputs_of(cell, "error")]
    drawing = [cell for cell in cells if "plt.show()" in cell.source]
    assert len(drawing) >= DRAWINGS[name]
    assert all(outputs_of(cell, "display_data") for cell in drawing)
    printing = [cell for cell in cells if re.search(r"^print\(", cell.source, re.MULTILINE)]
    assert printing and all(outputs_of(cell, "stream") for cell in printing)


def test_the_file_is_small_and_names_no_folder_of_its_machine(name: str) -> None:
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    outputs = json.dumps([cell.get("outputs") for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"])
    words = re.sub(r'"image/png": "[^"]*"', "", outputs)
    assert "image/png" in outputs and not re.search(r"/(home|root|tmp|work|usr|Users)/", words)


def test_its_figures_are_of_the_kept_results() -> None:
    """The committed run has seen every result file that is kept."""
    cells = code_cells(committed("solver_comparison"))
    printed = "".join(output.text for cell in cells for output in outputs_of(cell, "stream"))
    for file in (FOLDER / "results").glob("*.json"):
        assert f"{file.stem}: {json.loads(file.read_text(encoding='utf-8'))['made'][:10]}" in printed, file.name
