"""What can go wrong here: a wrong problem, a broken allocation, a solver without an answer."""


class ProblemError(ValueError):
    """The data of a problem is wrong; the one-line message says what, what was expected and where, in outside ids."""


class AllocationError(ValueError):
    """A set of chosen edges breaks the problem it claims to answer: an edge twice, an item or a user over its limit."""


class SolverError(RuntimeError):
    """A solver gave no answer, or stopped short of the asked gap and was told to raise."""
