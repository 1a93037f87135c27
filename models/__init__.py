"""Who might like it: activity, retrieval, ranking and scores. Knows no capacity."""

if __name__ != "dualrec.models":
    raise ImportError(
        f"this is dualrec.models, imported as {__name__!r}: install the project and import dualrec.models"
    )
