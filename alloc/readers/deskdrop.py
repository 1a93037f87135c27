"""CI&T Deskdrop: events of employees on articles shared in their company, with the original's columns."""

from pathlib import Path

from ..columns import Columns
from ..interactions import Interactions
from ..tables import DAY_MS, Tables
from ..vocabulary import Vocabulary

KIND_OF_EVENT = {
    "VIEW": "view",
    "LIKE": "like",
    "BOOKMARK": "bookmark",
    "COMMENT CREATED": "comment",
    "FOLLOW": "follow",
}
_NOTES = (
    "Deskdrop has no authors: nothing is excluded or capped by creator, and FOLLOW follows the thread, not its author.",
    "Deskdrop has no text: there is no content, and there are no categories.",
    "Deskdrop has no upload times here: an item counts as uploaded at its first event.",
)


def read(path: Path) -> Tables:
    """Tables of the events file at ``path``; a row is one event; day 0 is the UTC day of the first."""
    keys = ("personId", "contentId")
    log = Columns.read_all(path, [*keys, "timestamp", "eventType"], keys)
    users, items = Vocabulary(log.ids("personId"), "user"), Vocabulary(log.ids("contentId"), "item")
    event = log.labels("eventType", KIND_OF_EVENT)
    every = Interactions(
        user=users.rows(log.ids("personId")),
        item=items.rows(log.ids("contentId")),
        time=log.times("timestamp", unit_ms=1000),
        kinds={kind: event == name for name, kind in KIND_OF_EVENT.items()},
    )
    interactions = every.in_order().without_repeats()
    repeats = len(every) - len(interactions)
    return Tables(
        name="deskdrop",
        users=users,
        items=items,
        item_time=interactions.first_times(len(items)),
        interactions=interactions,
        day_start=int(interactions.time[0]) // DAY_MS * DAY_MS,
        notes=(*_NOTES, f"{repeats} events that repeat another of the same user, item, kind and second were dropped."),
    )
