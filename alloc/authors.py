"""Which user an item's creator is, so that nobody is matched with what they made."""

import numpy as np

from .tables import Tables


def author_rows(tables: Tables) -> np.ndarray | None:
    """int32[creators]: the user row of each creator, -1 for creators who are no users; None where that cannot be told.

    A creator is the user of the same id. Where one table's ids are text and the other's are integers, nobody is.
    """
    creators = tables.creators
    if tables.item_creator is None or creators is None or not len(creators):
        return None
    if creators.ids.dtype.kind != tables.users.ids.dtype.kind:
        return None
    return tables.users.rows(creators.ids, missing=-1)


def author_note(tables: Tables) -> str | None:
    """One sentence for the report where authors cannot be told from other users; None where they can or none exist."""
    if tables.item_creator is None or author_rows(tables) is not None:
        return None
    return "Creators are not identified by user ids: an author may be matched with an own item."
