"""The heads' parts of items that come after the night, which nobody has met."""

from dataclasses import dataclass

import numpy as np

from ..models.head_network import HeadNetwork, encode_items
from ..models.head_totals import new_item_inputs


@dataclass(frozen=True, eq=False)
class NewItemHeads:
    """``place``: of each learnt head among all ``heads``. ``codes`` float32[tokens + 1, d]: traits of the categories where
    items have no content, else None."""

    network: HeadNetwork
    place: list[int]
    heads: int
    codes: np.ndarray | None

    def parts(self, token: np.ndarray, content: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Appeal float32[n, t] and the heads' item parts float32[n, heads], of categories ``token`` int64[n] (-1 unknown),
        ``content`` float32[n, d] and ``group`` float32[n, m]: rows of `HeadTotals.groups`."""
        traits = content if self.codes is None else self.codes[token]
        appeal, bias = encode_items(self.network, new_item_inputs(traits, group))
        return appeal, spread_heads(bias, self.place, self.heads)


def spread_heads(values: np.ndarray, place: list[int], heads: int) -> np.ndarray:
    """float32[n, heads] with the learnt heads at their places, 0 elsewhere."""
    out = np.zeros((len(values), heads), np.float32)
    out[:, place] = values
    return out
