"""The score of every (item, user) pair, a block of items at a time: w = P(active) * P(interaction) ** e * g, g of eq. 10."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from .heads import Head
from .row_product import row_product

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
_OF_PAIRS = (
    *("user_vector", "user_bias", "item_vector", "item_logit", "user_rate", "item_rate"),
    *("user_taste", "item_taste", "factor"),
)
EXPLICIT = ("like", "comment", "follow", "share", "profile_visit", "bookmark")


@dataclass(frozen=True, eq=False)
class PairScorer:
    """All that eq. 10 needs, for some users and some items.

    ``user_vector`` float32[users, k], ``user_bias`` float32[users], ``item_vector`` float32[items, k]: the towers.
    ``item_logit`` float32[items]: log-odds of the item's rate. ``heads`` with ``beta`` (same length), their parts
    ``user_rate`` float32[users, heads] and ``item_rate`` float32[items, heads], and ``user_taste`` float32[users, t],
    ``item_taste`` float32[items, t], whose product they share (t = 0: none). ``factor`` float32[users]: P(active) / theta_u
    ** gamma. ``excluded`` int64: sorted item * users + user of the pairs that may not be matched. ``interaction_exponent``:
    of P(interaction), from 0 to 1; at 0 only the heads count.
    """

    user_vector: np.ndarray
    user_bias: np.ndarray
    item_vector: np.ndarray
    item_logit: np.ndarray
    heads: tuple[Head, ...]
    beta: np.ndarray
    user_rate: np.ndarray
    item_rate: np.ndarray
    user_taste: np.ndarray
    item_taste: np.ndarray
    factor: np.ndarray
    excluded: np.ndarray
    interaction_exponent: float = 1.0

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
        return _products(self.item_vector, self.user_vector, item, user) + self.user_bias[user]

    def taste(self, item: np.ndarray, user: np.ndarray) -> np.ndarray:
        """float32[n]: the product that the heads share, of pairs (item place, user place)."""
        return _products(self.item_taste, self.user_taste, item, user)

    def rows(self, items: np.ndarray) -> np.ndarray:
        """Scores float32[len(items), users] >= 0, 0 for pairs that may not be matched.

        Two matrix products, one pass for the interaction and one for each head. Scores keep 16 significant bits, so that
        the last bits of a matrix product, which differ between machines and numbers of items, seldom decide an allocation:
        the same items give the same bytes, among other items a score may differ in the last of its 16 bits.
        """
        scores: np.ndarray = self.tile(items, 0, self.users).numpy()
        return scores

    def row(self, item: int, product: np.ndarray | None = None) -> np.ndarray:
        """As `rows` of one item, float32[users], on the thread that asks; the last of the 16 bits may differ.

        One read of the users' vectors, several times faster than a matrix product of one row. ``product``: float32[2, users]
        to work in, for a caller that asks again and again.
        """
        found = np.empty((2, self.users), np.float32) if product is None else product
        row_product(self.user_vector, self.item_vector[item], found[0])
        row_product(self.user_taste, self.item_taste[item], found[1])
        with torch.no_grad():
            lift, taste = torch.from_numpy(found)[:, None]
            score = self._of_products(lift, taste, np.array([item]), 0, self.users, "cpu")
        row: np.ndarray = score[0].numpy()
        return row

    @torch.no_grad()
    def tile(self, items: np.ndarray, first: int, last: int, device: str = "cpu") -> torch.Tensor:
        """As `rows` for the users first to last, float32[len(items), last - first] on a device."""
        held, of_item = self._tensors(device), torch.from_numpy(items).to(device)
        lift, taste = (
            held[f"item_{name}"][of_item] @ held[f"user_{name}"][first:last].T for name in ("vector", "taste")
        )
        return self._of_products(lift, taste, items, first, last, device)

    def _of_products(
        self, lift: torch.Tensor, taste: torch.Tensor, items: np.ndarray, first: int, last: int, device: str
    ) -> torch.Tensor:
        """Scores from the inner products of items and users, the first of which are overwritten."""
        held, of_item = self._tensors(device), torch.from_numpy(items).to(device)
        lift += held["user_bias"][first:last]
        score = self._feedback((lift, taste), of_item, held, slice(first, last))
        if self.interaction_exponent:
            chance = lift.add_(held["item_logit"][of_item][:, None]).sigmoid_()
            score *= chance if self.interaction_exponent == 1 else chance.pow_(self.interaction_exponent)
        score *= held["factor"][first:last]
        score = _rounded(score.clamp_(min=0))
        place, user = self._excluded_in(items, first, last)
        score[torch.from_numpy(place).to(device), torch.from_numpy(user).to(device)] = 0.0
        return score

    def _tensors(self, device: str) -> dict[str, torch.Tensor]:
        """The arrays of users and items on a device, where they stay."""
        if device not in self._held:
            self._held[device] = {name: torch.from_numpy(getattr(self, name)).to(device) for name in _OF_PAIRS}
        return self._held[device]

    @cached_property
    def _held(self) -> dict[str, dict[str, torch.Tensor]]:
        return {}

    def _feedback(
        self,
        products: tuple[torch.Tensor, torch.Tensor],
        items: torch.Tensor,
        held: dict[str, torch.Tensor],
        part: slice,
    ) -> torch.Tensor:
        """float32[items, users]: sum_k beta_k P(k | interaction)."""
        lift, taste = products
        always = float(sum(b for b, head in zip(self.beta, self.heads, strict=True) if head.always))
        total = torch.full_like(lift, always)
        for number, head in enumerate(self.heads):
            beta = float(self.beta[number])
            if head.always or not beta:
                continue
            users = head.user * held["user_rate"][part, number]
            of_item = head.item * held["item_rate"][items, number] + head.offset
            logit = (head.lift * lift).add_(users).add_(of_item[:, None])
            if head.taste:
                logit.add_(taste, alpha=head.taste)
            total.add_(logit.sigmoid_(), alpha=beta)
        return total

    def exclude(self, scores: np.ndarray, items: np.ndarray) -> None:
        """Set the scores float32[len(items), users] of pairs that may not be matched to 0, in place."""
        scores[self._excluded_in(items, 0, self.users)] = 0.0

    def _excluded_in(self, items: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Place among `items` and user less `first` of the pairs with users first to last that may not be matched."""
        asked = np.asarray(items, np.int64)
        low = np.searchsorted(self.excluded, asked * self.users + first)
        high = np.searchsorted(self.excluded, asked * self.users + last)
        place = np.repeat(np.arange(asked.size), high - low)
        at = np.arange(place.size) - np.repeat(np.cumsum(high - low) - (high - low), high - low) + low[place]
        return place, self.excluded[at] - asked[place] * self.users - first


def _products(left: np.ndarray, right: np.ndarray, row: np.ndarray, other: np.ndarray) -> np.ndarray:
    """float32[n]: inner products of rows of two matrices, a part at a time."""
    parts = np.array_split(np.arange(len(row)), len(row) // 65_536 + 1)
    return np.concatenate([np.einsum("nd,nd->n", left[row[p]], right[other[p]]) for p in parts])


def _rounded(values: torch.Tensor) -> torch.Tensor:
    """float32 values rounded in place to SIGNIFICANT_BITS bits of mantissa."""
    drop = 24 - SIGNIFICANT_BITS
    bits = values.view(torch.int32)
    bits += 1 << (drop - 1)
    bits &= ~((1 << drop) - 1)
    return values
