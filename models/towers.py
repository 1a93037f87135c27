"""The two towers (paper eq. 6): one vector for each user, one for each item, and their inner product.

The inner product, with the user's bias, is the logarithm of how much likelier than the average active user this user is
to interact with the item: the item's own popularity is left out, for new items have none yet.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from .history import History
from .torch_threads import one_thread
from .tower_inputs import MAX_CODES, TOUCHED, ItemInputs, UserInputs

_HIDDEN = 128
_CODE_DIM = 8
_TASTE_STEP = 12.0  # the scale of the tastes starts here
BATCH = 16_384
"""Rows that `all_users` and `all_items` encode at once: other batches may differ in the last bits."""


@dataclass(frozen=True)
class TowerShape:
    """All that is needed to build the network again: the widths of its inputs, and half of that of its vectors.

    ``items``: how many have an embedding of their own, 0: none has. ``ef``: whether the item vector sees who met the item.
    ``tastes``: length of a third part of the vectors, 0: there is none.
    """

    tokens: int
    content: int
    half_lives: int
    user_dense: int
    user_codes: int
    item_dense: int
    dim: int
    items: int = 0
    ef: bool = True
    tastes: int = 0

    @property
    def width(self) -> int:
        """Length of the vectors of users and items."""
        return 2 * self.dim + self.tastes


class Towers(nn.Module):
    """User vector = [history, MLP(features)], item vector = [token + content + id + audience, MLP(of that, features)].

    The audience (EF of the paper) is who met the item lately, and who met items similar to it. The id is an embedding of
    the item's own: 0 where it is dropped (SA) and for items that the towers have not been trained on. With tastes both
    vectors have a third part: the user's tastes less the mean of all, and, times a number that is learnt, those of the
    users who met the item on the day of its upload, see `fan_tastes`.
    """

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        self.shape = shape
        dim = shape.dim
        self.token = nn.Embedding(max(shape.tokens, 1), dim)
        nn.init.normal_(self.token.weight, std=0.3 / dim**0.5)
        self.content = nn.Linear(shape.content, dim, bias=False) if shape.content else None
        self.identity = nn.Embedding(shape.items, dim) if shape.items else None
        if self.identity is not None:
            nn.init.zeros_(self.identity.weight)
        self.codes = nn.ModuleList(nn.Embedding(MAX_CODES, _CODE_DIM) for _ in range(shape.user_codes))
        width = shape.user_dense + shape.half_lives + _CODE_DIM * shape.user_codes
        self.user = nn.Sequential(nn.Linear(width, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, dim + 1))
        self.item = nn.Sequential(nn.Linear(shape.item_dense + dim, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, dim))
        self.scale = nn.Parameter(torch.full((shape.half_lives,), 3.0))
        self.content_scale = nn.Parameter(torch.tensor(1.0))
        self.audience_scale = nn.Parameter(torch.tensor(1.0))
        self.similar_scale = nn.Parameter(torch.tensor(0.3))
        self.taste_scale = nn.Parameter(torch.tensor(1.0)) if shape.tastes else None
        self.register_buffer("mean", torch.zeros(shape.user_dense))
        self.register_buffer("spread", torch.ones(shape.user_dense))

    def standardise(self, dense: np.ndarray) -> None:
        """Take the mean and spread of the users' dense features from float32[n, features]."""
        self.get_buffer("mean").copy_(torch.from_numpy(dense.mean(0)))
        self.get_buffer("spread").copy_(torch.from_numpy(dense.std(0) + 1e-3))

    @property
    def device(self) -> torch.device:
        """Where the weights are; inputs are copied there."""
        return self.token.weight.device

    def users(self, inputs: UserInputs, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Vectors float32[n, width] and biases float32[n] of the users ``rows``."""
        history = self._bags(inputs.history.weights, rows)
        if self.content is not None:
            history = history + self.content_scale * self.content(self._put(inputs.history.content[rows]))
        dense = (self._put(inputs.dense[rows]) - self.get_buffer("mean")) / self.get_buffer("spread")
        codes = self._put(inputs.codes[rows])
        embedded = [table(codes[:, number]) for number, table in enumerate(self.codes)]
        parts = [dense.clamp(-4, 4), self._put(inputs.history.totals[rows]), *embedded]
        features = self.user(torch.cat(parts, 1))
        tastes = [self._put(inputs.tastes[rows] - inputs.mean_taste)] if self.taste_scale is not None else []
        return torch.cat([history, features[:, :-1], *tastes], 1), features[:, -1]

    def items(self, inputs: ItemInputs, rows: np.ndarray, *, with_id: bool = False) -> Tensor:
        """Vectors float32[n, width] of the items at places ``rows`` of ``inputs``."""
        token = self._put(inputs.token[rows])
        vector = self.token(token.clamp(min=0)) * (token >= 0)[:, None]
        if self.content is not None:
            vector = vector + self.content(self._put(inputs.content[rows]))
        if self.identity is not None and with_id:
            vector = vector + self.identity(self._put(inputs.rows[rows]))
        dense = self._put(inputs.dense[rows])
        if self.shape.ef:
            vector = vector + self.audience_scale * self._met(inputs.audience, inputs.audience_content, rows)
            vector = vector + self.similar_scale * self._met(inputs.similar, inputs.similar_content, rows)
        vectors = self._with_features(vector, dense)
        if self.taste_scale is None:
            return vectors
        return torch.cat([vectors, _TASTE_STEP * self.taste_scale * self._put(inputs.fans[rows])], 1)

    def new_items(self, token: np.ndarray, content: np.ndarray, dense: np.ndarray, similar: np.ndarray) -> Tensor:
        """Vectors float32[n, width] of items that nobody has met yet, from token int64[n], content and dense as in
        ``ItemInputs``, and float32[n, dim]: `history_vectors` of who met similar items, averaged."""
        known = torch.from_numpy(token)
        vector = self.token(known.clamp(min=0)) * (known >= 0)[:, None]
        if self.content is not None:
            vector = vector + self.content(torch.from_numpy(content))
        if self.shape.ef:
            vector = vector + self.similar_scale * torch.from_numpy(similar)
        vectors = self._with_features(vector, torch.from_numpy(dense))
        return nn.functional.pad(vectors, (0, self.shape.tastes)) if self.shape.tastes else vectors

    def history_vectors(self, history: History, rows: np.ndarray) -> Tensor:
        """float32[n, dim]: what the users ``rows`` have done, as an item's audience sees it."""
        return self._met(history.weights[-1], history.content, rows)

    def _with_features(self, vector: Tensor, dense: Tensor) -> Tensor:
        if not self.shape.ef:
            dense[:, TOUCHED] = 0
        return torch.cat([vector, self.item(torch.cat([dense, vector], 1))], 1)

    def _met(self, tokens: sparse.csr_matrix, content: np.ndarray, rows: np.ndarray) -> Tensor:
        """What the users who met each item, or items similar to it, have done: float32[n, dim]."""
        met = _bag(self.token.weight, tokens, rows)
        return met if self.content is None else met + self.content(self._put(content[rows]))

    def _put(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _bags(self, weights: tuple[sparse.csr_matrix, ...], rows: np.ndarray) -> Tensor:
        bags = [scale * _bag(self.token.weight, each, rows) for scale, each in zip(self.scale, weights, strict=True)]
        return torch.stack(bags).sum(0)


@one_thread()
@torch.no_grad()
def all_users(towers: Towers, inputs: UserInputs, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors float32[n, width] and biases float32[n] of the users ``rows``, in fixed batches on one thread."""
    parts = [towers.users(inputs, rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
    if not parts:
        return np.zeros((0, towers.shape.width), np.float32), np.zeros(0, np.float32)
    vectors, biases = zip(*parts, strict=True)
    return torch.cat(vectors).numpy(), torch.cat(biases).numpy()


@one_thread()
@torch.no_grad()
def all_items(towers: Towers, inputs: ItemInputs, part: tuple[int, int] | None = None) -> np.ndarray:
    """Vectors float32[n, width] of all items of ``inputs``, in fixed batches on one thread; ``part``: first and last."""
    rows = np.arange(*(part or (0, len(inputs.rows))))
    parts = [towers.items(inputs, rows[at : at + BATCH]) for at in range(0, max(len(rows), 1), BATCH)]
    return torch.cat(parts).numpy()


@one_thread()
@torch.no_grad()
def all_history_vectors(towers: Towers, history: History) -> np.ndarray:
    """`Towers.history_vectors` float32[users, dim] of all users, on one thread."""
    rows = np.arange(len(history.totals))
    parts = [towers.history_vectors(history, rows[at : at + BATCH]) for at in range(0, len(rows), BATCH)]
    return torch.cat(parts).numpy()


@one_thread()
@torch.no_grad()
def new_item_vectors(
    towers: Towers, token: np.ndarray, content: np.ndarray, dense: np.ndarray, similar: np.ndarray
) -> np.ndarray:
    """`Towers.new_items`, float32[n, width], on one thread."""
    return towers.new_items(token, content, dense, similar).numpy()


def _bag(table: Tensor, weights: sparse.csr_matrix, rows: np.ndarray) -> Tensor:
    """Weighted sums of the rows of ``table``, one for each row of the sparse matrix that is asked for."""
    part = weights[rows]
    return nn.functional.embedding_bag(
        torch.from_numpy(part.indices.astype(np.int64)).to(table.device),
        table,
        torch.from_numpy(part.indptr[:-1].astype(np.int64)).to(table.device),
        mode="sum",
        per_sample_weights=torch.from_numpy(part.data.astype(np.float32)).to(table.device),
    )
