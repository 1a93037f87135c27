"""The unit in which a solver's options measure prices, so that they mean the same whatever the scores are."""

import numpy as np

from .problem import Problem


def mean_score(problem: Problem) -> float:
    """The mean of the scores above 0 of edges whose item wants users and whose user has places; 1 without any."""
    score = problem.reachable_scores()
    count = np.count_nonzero(score)
    return float(score.sum(dtype=np.float64)) / count if count else 1.0
