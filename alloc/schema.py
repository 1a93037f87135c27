"""The generic schema: three Parquet files of one folder, each with a schema version in its metadata.

users.parquet         user_id; optional ``feature_*`` (categories of users) and ``capacity*`` (integers >= 0)
items.parquet         item_id, upload_time; optional creator_id, category, content (lists of floats of one length)
interactions.parquet  user_id, item_id, time; a bool column for each feedback kind; optional ``context_*`` (categories)

Ids are integers or strings. Times are timestamps (UTC unless they say otherwise) or integers, ms since 1970 UTC.
A null creator_id, category, feature or context is an unknown one; nothing else may be null.
Of a content vector only the direction counts.
"""

from collections.abc import Mapping
from pathlib import Path

from .errors import InputError

SCHEMA_VERSION = 1
VERSION_KEY = "dualrec.schema_version"
NAME_KEY = "dualrec.name"  # interactions.parquet, optional: the data set's name
DAY_START_KEY = "dualrec.day_start_ms"  # interactions.parquet, optional: when local day 0 begins; else at midnight UTC
NOTES_KEY = "dualrec.notes"  # interactions.parquet, optional: JSON list of sentences for the report
ARRIVALS_KEY = "dualrec.arrivals"  # prices.parquet: the night's items by the quarter of an hour of their upload
QUARTERS = 96

USERS_FILE, ITEMS_FILE, INTERACTIONS_FILE = "users.parquet", "items.parquet", "interactions.parquet"
FEATURE_PREFIX, CAPACITY_PREFIX, CONTEXT_PREFIX = "feature_", "capacity", "context_"


def check_version(path: Path, metadata: Mapping[str, str]) -> None:
    """Raise InputError unless the metadata of the file at ``path`` give a schema version that this code reads."""
    given = metadata.get(VERSION_KEY)
    where = f"{path}: metadata key {VERSION_KEY!r}"
    if given is None:
        raise InputError(
            f"{where} is missing, expected {SCHEMA_VERSION}; write the file with dualrec's write_tables, or with "
            f"pyarrow after table.replace_schema_metadata({{{VERSION_KEY!r}: '{SCHEMA_VERSION}'}})"
        )
    if not given.isdecimal() or int(given) < 1:
        raise InputError(f"{where} is {given!r}, expected {SCHEMA_VERSION}; correct the metadata")
    if int(given) > SCHEMA_VERSION:
        raise InputError(f"{where} is {given}, expected at most {SCHEMA_VERSION}; update dualrec to read this file")
