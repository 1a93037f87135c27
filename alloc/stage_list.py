"""The stages of the night in order, and the files of theirs that are published.

A stage's function is named, not imported: it loads when the stage starts, so a stage that is reused loads nothing.
"""

from .serving_names import HEADS_FILE, SERVING, SERVING_FILES
from .stage import Stage

SECTIONS = ("data", "activity", "towers", "retrieval", "heads", "score", "allocation", "evaluate")
EVERY_SECTION = ("seed", "engine", "device", *SECTIONS)

STAGES = (
    Stage("tables", "dualrec.alloc.stage_tables:run", (), ("seed", "data", "evaluate"), reads_data=True),
    Stage("activity", "dualrec.alloc.stage_activity:run", ("tables",), ("seed", "activity")),
    Stage(
        "retrieval",
        "dualrec.alloc.stage_retrieval:run",
        ("tables", "activity"),
        ("seed", "device", "activity", "towers", "retrieval"),
    ),
    Stage(
        "ranking",
        "dualrec.alloc.stage_ranking:run",
        ("tables", "activity", "retrieval"),
        ("seed", "device", "activity", "towers", "heads", "score"),
    ),
    Stage(
        "candidates",
        "dualrec.alloc.stage_candidates:run",
        ("tables", "retrieval", "ranking"),
        ("retrieval", "allocation", "device"),
    ),
    Stage(
        "allocation",
        "dualrec.alloc.stage_allocation:run",
        ("tables", "activity", "retrieval", "candidates"),
        ("engine", "device", "allocation"),
    ),
    Stage(
        "evaluation",
        "dualrec.alloc.stage_evaluation:run",
        ("tables", "activity", "retrieval", "ranking", "candidates", "allocation"),
        ("seed", "allocation", "evaluate"),
    ),
    Stage(
        "serving",
        "dualrec.alloc.stage_serving:run",
        ("tables", "retrieval", "ranking"),
        ("towers", "score"),
    ),
    Stage(
        "report",
        "dualrec.alloc.stage_report:run",
        ("tables", "activity", "retrieval", "ranking", "candidates", "allocation", "evaluation"),
        EVERY_SECTION,
    ),
)

EVALUATED = tuple(stage for stage in STAGES if stage.name not in {"serving", "report"})
"""What an evaluation needs."""

PUBLISHED = {
    "matches.parquet": "allocation",
    "prices.parquet": "allocation",
    "metrics.json": "report",
    "report.html": "report",
    **{f"{SERVING}/{name}": "serving" for name in SERVING_FILES},
}

OPTIONAL = frozenset({f"{SERVING}/{HEADS_FILE}"})
"""Files that a night publishes when its settings make them."""
