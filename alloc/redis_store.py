"""The shared store: Redis or Valkey, each request one script on the server, durable by its append-only file."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from .match_store import Answer, Match, Request, StoreError, checked_capacity, whole

_BATCH = 10_000
_SECONDS = 10

# The scripts' keys: day, places, items answered on the day, waiting matches by time, the item's answers (part -> answer).
# A user's matches are at the places' key with ':' and the user behind it.
_RESERVE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return redis.error_reply('NODAY') end
local item, part, demand, made, count, day = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), ARGV[6]
local earlier = redis.call('HGET', KEYS[5], part)
if earlier then return {1, earlier} end
local held = {}
for _, answer in ipairs(redis.call('HVALS', KEYS[5])) do
  local _, users = string.match(answer, '([^;]*);([^;]*)')
  for user in string.gmatch(users, '%d+') do held[user] = true end
end
local users, scores = {}, {}
for k = 7, 6 + count do
  if #users >= demand then break end
  local user, score = ARGV[k], ARGV[count + k]
  if not held[user] and tonumber(redis.call('HGET', KEYS[2], user) or '0') > 0 then
    redis.call('HINCRBY', KEYS[2], user, -1)
    redis.call('HSET', KEYS[2] .. ':' .. user, item, score .. ' ' .. made .. ' 0')
    redis.call('ZADD', KEYS[4], made, user .. ' ' .. item)
    users[#users + 1], scores[#scores + 1] = user, score
  end
end
local answer = day .. ';' .. table.concat(users, ' ') .. ';' .. table.concat(scores, ' ')
redis.call('HSET', KEYS[5], part, answer)
redis.call('SADD', KEYS[3], item)
return {0, answer}
"""
_SHOW = """
if redis.call('EXISTS', KEYS[1]) == 0 then return redis.error_reply('NODAY') end
local found = redis.call('HGET', KEYS[2] .. ':' .. ARGV[1], ARGV[2])
if not found then return 0 end
redis.call('HSET', KEYS[2] .. ':' .. ARGV[1], ARGV[2], string.sub(found, 1, -2) .. '1')
redis.call('ZREM', KEYS[4], ARGV[1] .. ' ' .. ARGV[2])
return 1
"""
_EXPIRE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return redis.error_reply('NODAY') end
local old = redis.call('ZRANGE', KEYS[4], '-inf', '(' .. ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, pair in ipairs(old) do
  local cut = string.find(pair, ' ', 1, true)
  local user, item = string.sub(pair, 1, cut - 1), string.sub(pair, cut + 1)
  redis.call('HDEL', KEYS[2] .. ':' .. user, item)
  redis.call('HINCRBY', KEYS[2], user, 1)
  redis.call('ZREM', KEYS[4], pair)
end
return #old
"""


class RedisStore:
    """A `MatchStore` on a server that several machines share. Its keys begin with ``prefix``.

    Refuses a server that would acknowledge before the disk has it (`appendonly yes` and `appendfsync always` are needed)
    unless ``durable`` is false. ``url`` as in redis://host:6379/0. An item with 200 users is one call.
    """

    def __init__(self, url: str, prefix: str = "dualrec", *, durable: bool = True) -> None:
        try:
            import redis
        except ImportError:
            raise StoreError("a Redis store needs the package redis: pip install 'dualrec[redis]'") from None
        if not re.fullmatch(r"[\w-]+", prefix, re.ASCII):
            raise StoreError(f"prefix is {prefix!r}, expected letters, digits, - and _")
        self._library, self.prefix = redis, prefix
        with self._errors():
            self._client: Any = redis.Redis.from_url(url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS)
            self._client.ping()
            if durable:
                self._check_durable()
            scripts = {"reserve": _RESERVE, "show": _SHOW, "expire": _EXPIRE}
            self._scripts = {name: self._client.register_script(text) for name, text in scripts.items()}

    def open_day(self, day: int, capacity: np.ndarray) -> None:
        """See `MatchStore`. Ten thousand users a call; the day is open once all are there."""
        places = checked_capacity(day, capacity)
        with self._errors():
            known = self._client.get(self._key(day, "day"))
            if known is None:
                with self._client.lock(self._key(day, "opening"), timeout=60):
                    if self._client.get(self._key(day, "day")) is None:
                        self._write_places(day, places)
                known = self._client.get(self._key(day, "day"))
            if known != places.tobytes():
                raise StoreError(f"day {day} is open with other capacities or users; forget it first")

    def left(self, day: int) -> np.ndarray:
        """See `MatchStore`."""
        with self._errors():
            out = np.zeros(self._users(day), np.int64)
            for user, free in self._client.hgetall(self._key(day, "place")).items():
                out[int(user)] = int(free)
            return out

    def answered(self, day: int) -> int:
        """See `MatchStore`."""
        with self._errors():
            self._users(day)
            return int(self._client.scard(self._key(day, "items")))

    def reserve(self, day: int, request: Request) -> Answer:
        """See `MatchStore`. One script."""
        users, scores = request.user.tolist(), request.score.tolist()
        head = [request.item, request.part, request.demand, request.made, len(users), whole("day", day)]
        repeated, answer = self._call("reserve", day, [*head, *users, *map(repr, scores)], request.item)
        return _answer(request.item, request.part, answer, repeated=bool(repeated))

    def answer(self, item: str, part: int = 0) -> Answer | None:
        """See `MatchStore`."""
        with self._errors():
            found = self._client.hget(f"{self.prefix}:item:{item}", whole("part", part))
        return None if found is None else _answer(item, part, found, repeated=True)

    def matches(self, day: int, user: int) -> list[Match]:
        """See `MatchStore`."""
        with self._errors():
            self._users(day)
            found = self._client.hgetall(f"{self._key(day, 'place')}:{user}")
        values = [(item.decode(), *text.split()) for item, text in found.items()]
        matches = [Match(item, float(score), shown == b"1") for item, score, _, shown in values]
        return sorted(matches, key=lambda match: (-match.score, match.item))

    def show(self, day: int, user: int, item: str) -> bool:
        """See `MatchStore`."""
        return bool(self._call("show", day, [whole("user", user), item]))

    def expire(self, day: int, before: int) -> int:
        """See `MatchStore`. Ten thousand matches a call; a call that is cut off leaves the rest for the next."""
        total = 0
        while True:
            ended = int(self._call("expire", day, [whole("before", before), _BATCH]))
            total += ended
            if ended < _BATCH:
                return total

    def forget(self, day: int) -> None:
        """See `MatchStore`. The day is closed first, its keys follow."""
        with self._errors():
            self._client.delete(self._key(day, "day"))
            for item in self._client.sscan_iter(self._key(day, "items"), count=_BATCH):
                self._forget_item(day, b":".join([self.prefix.encode(), b"item", item]))
            for key in self._client.scan_iter(f"{self.prefix}:{day}:*", count=_BATCH):
                self._client.unlink(key)

    def close(self) -> None:
        """See `MatchStore`."""
        self._client.close()

    def _write_places(self, day: int, places: np.ndarray) -> None:
        """All places, then the mark that the day is open; a part left by a writer that died is written over."""
        users = np.flatnonzero(places)
        for first in range(0, len(users), _BATCH):
            part = users[first : first + _BATCH].tolist()
            self._client.hset(self._key(day, "place"), mapping={user: int(places[user]) for user in part})
        self._client.set(self._key(day, "day"), places.tobytes())

    def _forget_item(self, day: int, key: bytes) -> None:
        """The item's answers of that day."""
        of_day = [part for part, text in self._client.hgetall(key).items() if int(text.split(b";")[0]) == day]
        if of_day:
            self._client.hdel(key, *of_day)

    def _users(self, day: int) -> int:
        size = self._client.strlen(self._key(day, "day"))
        if not size and not self._client.exists(self._key(day, "day")):
            raise StoreError(f"day {day} is not open in the store; open_day first")
        return int(size) // 8

    def _call(self, name: str, day: int, values: list[Any], item: str = "") -> Any:
        keys = [self._key(day, kind) for kind in ("day", "place", "items", "waiting")] + [f"{self.prefix}:item:{item}"]
        try:
            with self._errors():
                return self._scripts[name](keys=keys, args=values)
        except StoreError as error:
            if "NODAY" in str(error):
                raise StoreError(f"day {day} is not open in the store; open_day first") from None
            raise

    def _key(self, day: int, kind: str) -> str:
        return f"{self.prefix}:{whole('day', day)}:{kind}"

    def _check_durable(self) -> None:
        found = self._client.config_get("append*")
        if found.get("appendonly") != "yes" or found.get("appendfsync") != "always":
            raise StoreError(
                "the server has appendonly {appendonly} and appendfsync {appendfsync}, expected yes and always: else it "
                "acknowledges matches that a crash can lose".format(**{"appendonly": "?", "appendfsync": "?", **found})
            )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._library.RedisError as error:
            raise StoreError(f"the Redis store: {type(error).__name__}: {error}") from error


def _answer(item: str, part: int, text: bytes, *, repeated: bool) -> Answer:
    day, users, scores = text.decode().split(";")
    user = np.array(users.split(), np.int64)
    return Answer(item, part, int(day), user, np.array(scores.split(), np.float32), repeated=repeated)
