"""The shared store: Redis or Valkey, each request one script on the server, durable by its append-only file."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from .errors import InputError
from .match_store import Answer, Match, Request, ShortError, StoreError, checked_capacity, other_people, whole

MOST_USERS = 1_500
"""Of one write: Lua unpacks some eight thousand values at most."""

_BATCH = 10_000
_SECONDS = 10

# All is in one hash, and a request writes all of it by one HSET. A script with several writes goes into the append-only file
# as a MULTI; where a crash cuts that off, Redis 7 keeps its first part and carries it out after the next restart, which
# tests/test_redis_crash.py found. Fields: d:DAY capacities, w:DAY whose, n:DAY items answered, p:DAY:USER places left,
# m:DAY:USER matches (a JSON list a line), a:PART:ITEM the answer, h:ITEM all users of the item.
_RESERVE = """
local hash, item, part, demand, made, day = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
if redis.call('HEXISTS', hash, 'd:' .. day) == 0 then return redis.error_reply('NODAY') end
local earlier = redis.call('HGET', hash, 'a:' .. part .. ':' .. item)
if earlier then return {1, earlier} end
local before = redis.call('HGET', hash, 'h:' .. item)
local held, count, users, scores, fields = {}, tonumber(ARGV[6]), {}, {}, {}
for user in string.gmatch(before or '', '%d+') do held[user] = true end
for k = 7, 6 + count do
  if #users >= demand then break end
  local user, score = ARGV[k], ARGV[count + k]
  local place, match = 'p:' .. day .. ':' .. user, 'm:' .. day .. ':' .. user
  local free = held[user] and 0 or tonumber(redis.call('HGET', hash, place) or '0')
  if free > 0 then
    local line = cjson.encode({item, score, made, '0'})
    local others = redis.call('HGET', hash, match) or ''
    users[#users + 1], scores[#scores + 1] = user, score
    fields[#fields + 1], fields[#fields + 2] = place, free - 1
    fields[#fields + 1], fields[#fields + 2] = match, #others > 0 and (others .. '\\n' .. line) or line
  end
end
if #users < tonumber(ARGV[#ARGV]) then return {2, tostring(#users)} end
local answer = day .. ';' .. table.concat(users, ' ') .. ';' .. table.concat(scores, ' ')
fields[#fields + 1], fields[#fields + 2] = 'a:' .. part .. ':' .. item, answer
fields[#fields + 1], fields[#fields + 2] = 'h:' .. item, (before and before .. ' ' or '') .. table.concat(users, ' ')
if part == '0' then
  fields[#fields + 1], fields[#fields + 2] = 'n:' .. day, tonumber(redis.call('HGET', hash, 'n:' .. day) or '0') + 1
end
redis.call('HSET', hash, unpack(fields))
return {0, answer}
"""
_OPEN = """
if redis.call('HEXISTS', KEYS[1], 'd:' .. ARGV[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 1
"""
_SHOW = """
local hash, day, user, item = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if redis.call('HEXISTS', hash, 'd:' .. day) == 0 then return redis.error_reply('NODAY') end
local lines, found = {}, 0
for line in string.gmatch(redis.call('HGET', hash, 'm:' .. day .. ':' .. user) or '', '[^\\n]+') do
  local match = cjson.decode(line)
  if match[1] == item then
    found, match[4] = 1, '1'
    line = cjson.encode(match)
  end
  lines[#lines + 1] = line
end
if found == 1 then redis.call('HSET', hash, 'm:' .. day .. ':' .. user, table.concat(lines, '\\n')) end
return found
"""
_EXPIRE = """
local hash, day, before, total, fields = KEYS[1], ARGV[1], tonumber(ARGV[2]), 0, {}
if redis.call('HEXISTS', hash, 'd:' .. day) == 0 then return redis.error_reply('NODAY') end
for k = 3, #ARGV do
  local place, match, lines, ended = 'p:' .. day .. ':' .. ARGV[k], 'm:' .. day .. ':' .. ARGV[k], {}, 0
  for line in string.gmatch(redis.call('HGET', hash, match) or '', '[^\\n]+') do
    local found = cjson.decode(line)
    if found[4] == '0' and tonumber(found[3]) < before then ended = ended + 1 else lines[#lines + 1] = line end
  end
  if ended > 0 then
    fields[#fields + 1], fields[#fields + 2] = place, tonumber(redis.call('HGET', hash, place)) + ended
    fields[#fields + 1], fields[#fields + 2] = match, table.concat(lines, '\\n')
  end
  total = total + ended
end
if total > 0 then redis.call('HSET', hash, unpack(fields)) end
return total
"""


class RedisStore:
    """A `MatchStore` on a server that several machines share, in one hash of the name ``prefix``.

    Refuses a server that would acknowledge before the disk has it (`appendonly yes` and `appendfsync always` are needed)
    unless ``durable`` is false. ``url`` as in redis://host:6379/0. An item is one call, and gets 1,500 users at most.
    """

    def __init__(self, url: str, prefix: str = "dualrec", *, durable: bool = True) -> None:
        try:
            import redis
        except ImportError:
            raise StoreError("a Redis store needs the package redis: pip install 'dualrec[redis]'") from None
        self._library, self.prefix = redis, prefix
        with self._errors():
            self._client: Any = redis.Redis.from_url(url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS)
            self._client.ping()
            if durable:
                self._check_durable()
            scripts = {"open": _OPEN, "reserve": _RESERVE, "show": _SHOW, "expire": _EXPIRE}
            self._scripts = {name: self._client.register_script(text) for name, text in scripts.items()}

    def open_day(self, day: int, capacity: np.ndarray, people: str = "") -> None:
        """See `MatchStore`. Some thousand users a call; the day is open once all are there."""
        day, places = whole("day", day), checked_capacity(day, capacity)
        with self._errors():
            if not self._client.hexists(self.prefix, f"d:{day}"):
                with self._client.lock(f"{self.prefix}:opening", timeout=60):
                    self._write_places(day, places, people)
            if self._client.hmget(self.prefix, f"d:{day}", f"w:{day}") != [places.tobytes(), people.encode()]:
                raise other_people(day)

    def people(self, day: int) -> str:
        """See `MatchStore`."""
        day = whole("day", day)
        with self._errors():
            self._users(day)
            return str(self._client.hget(self.prefix, f"w:{day}").decode())

    def left(self, day: int) -> np.ndarray:
        """See `MatchStore`. Ten thousand users a call: while others write, not of one moment."""
        day = whole("day", day)
        with self._errors():
            users = self._users(day)
            out = np.zeros(users, np.int64)
            for first in range(0, users, _BATCH):
                part = range(first, min(first + _BATCH, users))
                found = self._client.hmget(self.prefix, [f"p:{day}:{user}" for user in part])
                out[part.start : part.stop] = [int(free or 0) for free in found]
            return out

    def answered(self, day: int) -> int:
        """See `MatchStore`."""
        day = whole("day", day)
        with self._errors():
            self._users(day)
            return int(self._client.hget(self.prefix, f"n:{day}") or 0)

    def reserve(self, day: int, request: Request) -> Answer:
        """See `MatchStore`. One script, one write."""
        if request.demand > MOST_USERS:
            raise InputError(f"item {request.item!r}: demand {request.demand}, expected at most {MOST_USERS} in Redis")
        users, scores = request.user.tolist(), request.score.tolist()
        head = [request.item, request.part, request.demand, request.made, whole("day", day), len(users)]
        state, answer = self._call("reserve", day, [*head, *users, *map(repr, scores), request.least])
        if state == 2:
            raise ShortError(f"item {request.item!r}: {int(answer)} users have places left, wanted {request.least}")
        return _answer(request.item, request.part, answer, repeated=bool(state))

    def answer(self, item: str, part: int = 0) -> Answer | None:
        """See `MatchStore`."""
        with self._errors():
            found = self._client.hget(self.prefix, f"a:{whole('part', part)}:{item}")
        return None if found is None else _answer(item, part, found, repeated=True)

    def matches(self, day: int, user: int) -> list[Match]:
        """See `MatchStore`."""
        day, user = whole("day", day), whole("user", user)
        with self._errors():
            self._users(day)
            found = _lines(self._client.hget(self.prefix, f"m:{day}:{user}"))
        matches = [Match(item, float(score), shown == "1") for item, score, _, shown in found]
        return sorted(matches, key=lambda match: (-match.score, match.item))

    def show(self, day: int, user: int, item: str) -> bool:
        """See `MatchStore`."""
        return bool(self._call("show", day, [whole("day", day), whole("user", user), item]))

    def expire(self, day: int, before: int) -> int:
        """See `MatchStore`. Reads the day's matches; 1,500 users a write; cut off, the next call goes on."""
        day, before = whole("day", day), whole("before", before)
        with self._errors():
            self._users(day)
            scan = self._client.hscan_iter(self.prefix, match=f"m:{day}:*", count=_BATCH)
            old = [
                int(name.split(b":")[2])
                for name, text in scan
                if any(shown == "0" and int(made) < before for _, _, made, shown in _lines(text))
            ]
        parts = [old[first : first + MOST_USERS] for first in range(0, len(old), MOST_USERS)]
        return sum(int(self._call("expire", day, [day, before, *part])) for part in parts)

    def forget(self, day: int) -> None:
        """See `MatchStore`. The day is closed first, then its fields go; cut off, call it again."""
        day = whole("day", day)
        with self._errors():
            self._client.hdel(self.prefix, f"d:{day}", f"w:{day}", f"n:{day}")
            gone: list[bytes] = []
            for kind in ("p", "m"):
                gone += [name for name, _ in self._client.hscan_iter(self.prefix, f"{kind}:{day}:*", _BATCH)]
            kept: dict[bytes, bytes] = {}
            of_day: list[bytes] = []
            for name, text in self._client.hscan_iter(self.prefix, "a:*", _BATCH):
                item = name.split(b":", 2)[2]
                if text.startswith(f"{day};".encode()):
                    of_day.append(item)
                    gone.append(name)
                else:
                    kept[item] = kept.get(item, b"") + b" " + text.split(b";")[1]
            gone += [b"h:" + item for item in of_day if item not in kept]
            for item in set(of_day) & kept.keys():
                self._client.hset(self.prefix, b"h:" + item, kept[item])
            for first in range(0, len(gone), _BATCH):
                self._client.hdel(self.prefix, *gone[first : first + _BATCH])

    def close(self) -> None:
        """See `MatchStore`."""
        self._client.close()

    def _write_places(self, day: int, places: np.ndarray, people: str) -> None:
        """All places, then the mark that the day is open; a part left by a process that died is written over.

        Nothing is written once the day is open: an opener that was held up must not give places back.
        """
        for first in range(0, len(places), MOST_USERS):
            part = places[first : first + MOST_USERS].tolist()
            fields = [str(value) for k, free in enumerate(part) for value in (f"p:{day}:{first + k}", free)]
            self._scripts["open"](keys=[self.prefix], args=[day, *fields])
        mark: list[Any] = [f"d:{day}", places.tobytes(), f"w:{day}", people]
        self._scripts["open"](keys=[self.prefix], args=[day, *mark])

    def _users(self, day: int) -> int:
        if not self._client.hexists(self.prefix, f"d:{day}"):
            raise StoreError(f"day {day} is not open in the store; open_day first")
        return int(self._client.hstrlen(self.prefix, f"d:{day}")) // 8

    def _call(self, name: str, day: int, values: list[Any]) -> Any:
        try:
            with self._errors():
                return self._scripts[name](keys=[self.prefix], args=values)
        except StoreError as error:
            if "NODAY" in str(error):
                raise StoreError(f"day {day} is not open in the store; open_day first") from None
            raise

    def _check_durable(self) -> None:
        found = {**self._client.config_get("append*"), **self._client.config_get("no-appendfsync-on-rewrite")}
        wanted = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}
        wrong = [
            f"{name} {found.get(name)}, expected {value}" for name, value in wanted.items() if found.get(name) != value
        ]
        if wrong:
            raise StoreError(f"the server has {'; '.join(wrong)}: it would acknowledge matches that a crash can lose")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (self._library.RedisError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise StoreError(f"the Redis store: {type(error).__name__}: {error}") from error


def _answer(item: str, part: int, text: bytes, *, repeated: bool) -> Answer:
    day, users, scores = text.decode().split(";")
    user = np.array(users.split(), np.int64)
    return Answer(item, part, int(day), user, np.array(scores.split(), np.float32), repeated=repeated)


def _lines(text: bytes | None) -> list[list[str]]:
    """Item, score, time made and whether shown, of each match of a user."""
    return [json.loads(line) for line in (text or b"").split(b"\n") if line]
