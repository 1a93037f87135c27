"""Who gets it: capacitated assignment over rows, columns and edges. Knows no user or day."""

if __name__ != "dualrec.solvers":
    raise ImportError(
        f"this is dualrec.solvers, imported as {__name__!r}: install the project and import dualrec.solvers"
    )
