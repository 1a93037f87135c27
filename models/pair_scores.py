"""The score of every (item, user) pair, a block of items at a time: w = P(active) * g, with g of eq. 10."""

from dataclasses import dataclass

import numpy as np
import torch

from .heads import Head

DEFAULT_BETA = {
    "click": 1.0,
    "view": 0.1,
    "effective_view": 0.5,
    "like": 1.0,
    "comment": 2.0,
    "follow": 2.0,
    "share": 2.0,
    "profile_visit": 1.0,
    "bookmark": 1.0,
    "skip": -0.5,
}
SIGNIFICANT_BITS = 16
EXPLICIT = ("like", "comment", "follow", "share", "profile_visit", "bookmark")


@dataclass(frozen=True, eq=False)
class PairScorer:
    """All that eq. 10 needs, for some users and some items.

    ``user_vector`` float32[users, k], ``user_bias`` float32[users], ``item_vector`` float32[items, k]: the towers.
    ``item_logit`` float32[items]: log-odds of the item's rate. ``heads`` with ``beta`` (same length) and their rates
    ``user_rate`` float32[users, heads], ``item_rate`` float32[items, heads]. ``factor`` float32[users]:
    P(active) / theta_u ** gamma. ``excluded`` int64: sorted item * users + user of the pairs that may not be matched.
    """

    user_vector: np.ndarray
    user_bias: np.ndarray
    item_vector: np.ndarray
    item_logit: np.ndarray
    heads: tuple[Head, ...]
    beta: np.ndarray
    user_rate: np.ndarray
    item_rate: np.ndarray
    factor: np.ndarray
    excluded: np.ndarray

    @property
    def items(self) -> int:
        """Number of items."""
        return len(self.item_vector)

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.user_vector)

    def lift(self, item: np.ndarray, user: np.ndarray) -> np.ndarray:
        """float32[n]: logarithm of how much likelier than average each pair (item place, user place) is."""
        parts = np.array_split(np.arange(len(item)), len(item) // 65_536 + 1)
        product = [np.einsum("nd,nd->n", self.item_vector[item[p]], self.user_vector[user[p]]) for p in parts]
        return np.concatenate(product) + self.user_bias[user]

    @torch.no_grad()
    def rows(self, items: np.ndarray) -> np.ndarray:
        """Scores float32[len(items), users] >= 0, 0 for pairs that may not be matched.

        One matrix product, one pass for the interaction and one for each head. Scores keep 16 significant bits, so that
        the last bits of a matrix product, which differ between machines and numbers of items, seldom decide an allocation:
        the same items give the same bytes, among other items a score may differ in the last of its 16 bits.
        """
        lift = torch.from_numpy(self.item_vector[items]) @ torch.from_numpy(self.user_vector).T
        lift += torch.from_numpy(self.user_bias)
        logit = torch.from_numpy(self.item_logit[items])[:, None]
        score = torch.sigmoid(lift + logit)
        score *= self._feedback(lift, items)
        score *= torch.from_numpy(self.factor)
        scores = _rounded(score.clamp_(min=0).numpy())
        self.exclude(scores, items)
        return scores

    def _feedback(self, lift: torch.Tensor, items: np.ndarray) -> torch.Tensor:
        """sum_k beta_k P(k | interaction), a number where every head is always true."""
        total = torch.tensor(float(sum(b for b, head in zip(self.beta, self.heads, strict=True) if head.always)))
        for number, head in enumerate(self.heads):
            beta = float(self.beta[number])
            if head.always or not beta:
                continue
            users = torch.from_numpy(head.user * self.user_rate[:, number])
            of_item = torch.from_numpy(head.item * self.item_rate[items, number] + np.float32(head.offset))
            logit = (head.lift * lift).add_(users).add_(of_item[:, None])
            total = total + logit.sigmoid_().mul_(beta)
        return total

    def exclude(self, scores: np.ndarray, items: np.ndarray) -> None:
        """Set the scores float32[len(items), users] of pairs that may not be matched to 0, in place."""
        for place, item in enumerate(np.asarray(items, np.int64)):
            low, high = np.searchsorted(self.excluded, [item * self.users, (item + 1) * self.users])
            scores[place, self.excluded[low:high] - item * self.users] = 0.0


def _rounded(values: np.ndarray) -> np.ndarray:
    """float32 values rounded in place to SIGNIFICANT_BITS bits of mantissa."""
    drop = 24 - SIGNIFICANT_BITS
    bits = values.view(np.int32)
    bits += 1 << (drop - 1)
    bits &= np.int32(~((1 << drop) - 1))
    return values
