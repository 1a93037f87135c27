"""From tables to what the models see."""

from datetime import UTC, date, datetime

import numpy as np

from ..models.log import Log
from .errors import InputError
from .tables import DAY_MS, Tables


def model_log(tables: Tables, holidays: tuple[str, ...]) -> Log:
    """The whole interaction log in days since day 0, with each item's token: its category, or itself without categories.

    Raises InputError for a holiday that is no date.
    """
    log = tables.interactions
    has_categories = tables.item_category is not None
    token = tables.item_category if has_categories else np.arange(len(tables.items), dtype=np.int32)
    content = tables.item_content
    return Log(
        user=log.user,
        item=log.item,
        day=(log.time - tables.day_start) / DAY_MS,
        kinds=log.kinds,
        context=log.context,
        users=len(tables.users),
        items=len(tables.items),
        upload=(tables.item_time - tables.day_start) / DAY_MS,
        token=np.asarray(token),
        tokens=len(tables.categories) if has_categories else len(tables.items),
        content=np.zeros((len(tables.items), 0), np.float32) if content is None else unit_length(content),
        rest_days=tuple((_date(text) - first_date(tables)).days for text in holidays),
        first_weekday=first_date(tables).weekday(),
    )


def unit_length(content: np.ndarray) -> np.ndarray:
    """float32[n, d], each row of length 1 (a row of zeros stays): what the models learn must not depend on the unit."""
    length = np.sqrt(np.einsum("nd,nd->n", content, content, dtype=np.float64))
    return (content / np.where(length > 0, length, 1)[:, None]).astype(np.float32)


def first_date(tables: Tables) -> date:
    """Local date of day 0: its noon is on the same date in UTC, wherever the clock is at most 12 hours off."""
    return datetime.fromtimestamp((tables.day_start + DAY_MS // 2) / 1000, UTC).date()


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"data.holidays: {text!r} is not a date, expected YYYY-MM-DD") from None
