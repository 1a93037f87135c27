"""The largest entries of each row of a sparse matrix or of a product of two, in blocks, so that memory is bounded."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from scipy import sparse

_BLOCK_PRODUCTS = 1 << 23


def top_of_rows(matrix: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """float32 CSR of the same shape: the ``count`` largest positive entries of each row, ties by column, ascending.

    Values are compared as float32, the ones that are returned. One pass, 4 bytes an entry.
    """
    value = matrix.data.astype(np.float32)
    bounds = zip(matrix.indptr[:-1].tolist(), matrix.indptr[1:].tolist(), strict=True)
    kept = [low + largest(matrix.indices[low:high], value[low:high], count) for low, high in bounds]
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in kept])]).astype(np.int64)
    place = np.concatenate([*kept, np.zeros(0, np.int64)])
    out = sparse.csr_matrix((value[place], matrix.indices[place], indptr), shape=matrix.shape)
    out.sort_indices()
    return out


def largest(column: np.ndarray, value: np.ndarray, count: int) -> np.ndarray:
    """int64 places of the ``count`` largest positive values, ties by column; in no order."""
    there = np.flatnonzero(value > 0)
    if len(there) <= count or not count:
        return there[: min(count, len(there))]
    found = value[there]
    least = np.partition(found, len(found) - count)[len(found) - count]
    above, equal = there[found > least], there[found == least]
    if len(above) + len(equal) > count:
        equal = equal[np.argsort(column[equal], kind="stable")][: count - len(above)]
    return np.concatenate([above, equal])


def top_of_product(
    left: sparse.csr_matrix, right: sparse.csr_matrix, count: int, threads: int = 1, own: np.ndarray | None = None
) -> sparse.csr_matrix:
    """As ``top_of_rows`` of ``left @ right``; ``own`` int64[rows]: a column of each row that does not count.

    The product is never held whole: blocks of rows with at most 8 million multiplications (or one row), about 100 MB
    for each thread. A row's sum has one order, so that neither blocks nor threads change a bit.
    """
    cuts = _cuts(left, right)

    def block(bounds: tuple[int, int]) -> sparse.csr_matrix:
        low, high = bounds
        product = sparse.csr_matrix(left[low:high] @ right)
        if own is not None:
            product.data[product.indices == np.repeat(own[low:high], np.diff(product.indptr))] = 0
        return top_of_rows(product, count)

    empty = sparse.csr_matrix((0, right.shape[1]), dtype=np.float32)
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(block, pairwise(cuts)))
    return sparse.csr_matrix(sparse.vstack([empty, *parts], format="csr", dtype=np.float32))


def only_columns(matrix: sparse.csr_matrix, keep: np.ndarray | None) -> sparse.csr_matrix:
    """Without the entries of the columns where ``keep`` (bool[columns]) is false; None keeps all. One pass."""
    if keep is None:
        return matrix
    if keep.shape != (matrix.shape[1],) or keep.dtype != np.bool_:
        raise ValueError(f"available has shape {keep.shape}, {keep.dtype}, expected bool ({matrix.shape[1]},)")
    there = keep[matrix.indices]
    before = np.concatenate([[0], np.cumsum(there)])
    return sparse.csr_matrix((matrix.data[there], matrix.indices[there], before[matrix.indptr]), shape=matrix.shape)


def ranked(matrix: sparse.csr_matrix, count: int) -> np.ndarray:
    """int64[rows, count]: each row's columns by falling value, ties by column, -1 where there are fewer."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, row))
    rank = np.arange(len(order)) - matrix.indptr[row]
    out = np.full((matrix.shape[0], count), -1, np.int64)
    short = rank < count
    out[row[short], rank[short]] = matrix.indices[order[short]]
    return out


def _cuts(left: sparse.csr_matrix, right: sparse.csr_matrix) -> list[int]:
    """Row bounds of blocks whose multiplications, together, stay below the limit where a row alone does."""
    work = np.concatenate([[0], np.cumsum(np.diff(right.indptr)[left.indices], dtype=np.int64)])[left.indptr]
    cuts = [0]
    while cuts[-1] < left.shape[0]:
        stop = int(np.searchsorted(work, work[cuts[-1]] + _BLOCK_PRODUCTS, "right")) - 1
        cuts.append(max(cuts[-1] + 1, min(stop, left.shape[0])))
    return cuts
