"""The bridge: tables, policy, the night, the report and the command line."""

if __name__ != "dualrec.alloc":
    raise ImportError(f"this is dualrec.alloc, imported as {__name__!r}: install the project and import dualrec.alloc")
