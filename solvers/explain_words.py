"""Explanations as plain sentences."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .explain import ItemExplanation, Partners, Unmatched, UserExplanation

SHOWN = 5
"""Partners that are named; the others are counted."""

ROUNDING = 1e-6
"""A score that is below its price by this share of it counts as equal."""


def item_sentences(it: "ItemExplanation") -> str:
    """The explanation of an item, one sentence a line."""
    candidates = it.users.id.size + it.next_users.id.size
    lines = [
        f"Item {it.item!r} wants {counted(it.demand, 'user')} and has {it.users.id.size}, "
        f"out of {counted(candidates, 'candidate')}."
    ]
    if it.excluded:
        lines.append(f"{counted(it.excluded, 'other candidate')} {'was' if it.excluded == 1 else 'were'} excluded.")
    lines += _listed("Its users", it.users)
    if it.floor > it.users.id.size:
        lines.append(f"Its floor of {counted(it.floor, 'user')} is missed by {it.floor - it.users.id.size}.")
    lines += _for_floor(it)
    lines += _next("user", it.next_users, it.missed_by)
    if it.users.id.size < it.demand:
        lines += [_short(it.next_users.id.size, it.unmatched, it.creator)]
    elif it.demand:
        lines.append(f"One more place would be worth about {it.next_place:.4g}, as the prices estimate it.")
    return "\n".join(lines)


def user_sentences(it: "UserExplanation") -> str:
    """The explanation of a user, one sentence a line."""
    candidates = it.items.id.size + it.next_items.id.size
    lines = [
        f"User {it.user!r} takes up to {counted(it.capacity, 'item')} and has {it.items.id.size}; "
        f"{counted(candidates, 'item')} had this user as a candidate.",
        f"One more place with this user would be worth about {it.price:.4g}, the user's price.",
    ]
    lines += _listed("Its items", it.items)
    lines += _next("item", it.next_items, it.missed_by)
    if it.next_items.id.size:
        lines.append(f"Of the items that did not get this user, {_reasons(it.unmatched, _ITEMS)}.")
    return "\n".join(lines)


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 user", "2 users"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(head: str, partners: "Partners") -> list[str]:
    if not partners.id.size:
        return []
    columns = (partners.id, partners.score, partners.price, partners.net)
    rows = zip(*(column[:SHOWN].tolist() for column in columns), strict=True)
    named = [f"{one!r} (score {score:.4g}, price {price:.4g}, left {net:.4g})" for one, score, price, net in rows]
    more = partners.id.size - len(named)
    return [f"{head}: {', '.join(named)}{f' and {more} more' if more else ''}."]


def _for_floor(it: "ItemExplanation") -> list[str]:
    below = int((it.users.net < -ROUNDING * it.users.price).sum())
    if it.floor == 0 or below == 0:
        return []
    scores = "has a score below its price" if below == 1 else "have scores below their prices"
    return [f"{below} of them {scores}: there for the floor of {counted(it.floor, 'user')}."]


def _next(noun: str, partners: "Partners", missed_by: float | None) -> list[str]:
    if missed_by is None:
        return []
    figures = f"score {partners.score[0]:.4g} at a price of {partners.price[0]:.4g}"
    lacks = f"it missed by {missed_by:.4g}" if missed_by > 0 else "the prices did not keep it away"
    return [f"Next in line was {noun} {partners.id[0].item()!r}, {figures}: {lacks}."]


def _short(left: int, why: "Unmatched", creator: object) -> str:
    if left == 0:
        return "It has too few users: there is no other candidate."
    of_creator = "its creator" if creator is None else f"creator {creator!r}"
    reasons = _reasons(why, _USERS).format(creator=of_creator)
    return f"It has too few users: of its other {counted(left, 'candidate')}, {reasons}."


def _reasons(why: "Unmatched", texts: dict[str, tuple[str, str]]) -> str:
    """The reasons that count, as in "1 is full and 2 are free"; `texts` has each in the singular and the plural."""
    found = ((getattr(why, name), text) for name, text in texts.items())
    parts = [f"{number} {text[number != 1]}" for number, text in found if number]
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]


_USERS = {
    "worthless": ("has a score of 0", "have a score of 0"),
    "closed": ("takes no items", "take no items"),
    "capped": (
        "has as many items of {creator} as the limit allows",
        "have as many items of {creator} as the limit allows",
    ),
    "too_dear": ("is full at a price above the score", "are full at prices above their scores"),
    "other_taken": ("is full with other items as good", "are full with other items as good"),
    "item_full": ("has a place left", "have a place left"),
    "free": ("has a place left", "have a place left"),
}
"""What kept a user away from an item."""

_ITEMS = {
    "worthless": ("has a score of 0", "have a score of 0"),
    "closed": ("is closed", "are closed"),
    "capped": ("is over the limit for items of its creator", "are over the limit for items of their creator"),
    "too_dear": ("has a score below the user's price", "have scores below the user's price"),
    "other_taken": ("reaches the price, but the user is full", "reach the price, but the user is full"),
    "item_full": ("is full", "are full"),
    "free": ("has a place left", "have a place left"),
}
"""What kept an item away from a user."""
