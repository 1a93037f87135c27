"""The similarity services by name, for items and for users."""

import numpy as np
from scipy import sparse

from .content_embedding import item_embedding, user_embedding
from .history import History
from .log import Log
from .similar_cf import collaborative_similarity
from .similar_content import content_similarity
from .similar_graph import graph_similarity
from .similarity import Interactions, Similarity, SimilarLists, TwoHop

SIMILAR = 50


def similar_items(choice: str, log: Log, liked: Interactions, history: History, threads: int = 1) -> SimilarLists:
    """The item service "content", "cf", "graph", or "auto": content; without it all items of the category; without
    categories all items that the same users touched. The others keep the 50 most similar."""
    if choice != "auto" or log.content.shape[1]:
        return SimilarLists(_items(choice, log, liked), SIMILAR, log.items, threads)
    service = _by_users(liked, history) if log.tokens_are_items else _by_category(log, liked)
    return SimilarLists(service, log.items, log.items, threads)


def similar_users(choice: str, log: Log, liked: Interactions, threads: int = 1) -> SimilarLists:
    """The user service "content", "cf", "graph", or "auto", which is cf; the 50 most similar."""
    service: Similarity
    if choice == "content":
        vectors, how = item_embedding(log, liked)
        service = content_similarity(user_embedding(vectors, liked), how, np.diff(liked.items_of.indptr) > 0)
    else:
        service = graph_similarity(liked.items_of) if choice == "graph" else collaborative_similarity(liked.items_of)
    return SimilarLists(service, SIMILAR, log.users, threads)


def _items(choice: str, log: Log, liked: Interactions) -> Similarity:
    if choice == "cf":
        return collaborative_similarity(liked.users_of)
    if choice == "graph":
        return graph_similarity(liked.users_of)
    vectors, how = item_embedding(log, liked)
    return content_similarity(vectors, how, np.diff(liked.users_of.indptr) > 0)


def _by_category(log: Log, liked: Interactions) -> TwoHop:
    """1 for each item of the same category that somebody liked."""
    known = np.flatnonzero(log.token >= 0)
    token_of = sparse.csr_matrix((np.ones(len(known)), (known, log.token[known])), shape=(log.items, log.tokens))
    seen = np.flatnonzero((log.token >= 0) & (np.diff(liked.users_of.indptr) > 0))
    members = sparse.csr_matrix((np.ones(len(seen)), (log.token[seen], seen)), shape=(log.tokens, log.items))
    return TwoHop("category", token_of, members)


def _by_users(liked: Interactions, history: History) -> TwoHop:
    """Mean history of the item's users: the share of each other item in it. Tokens must be items."""
    users = liked.users_of.copy()
    users.data = 1 / np.repeat(np.diff(users.indptr), np.diff(users.indptr))
    return TwoHop("users", users, history.weights[-1])
