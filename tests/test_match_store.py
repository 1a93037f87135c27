"""Stores of matches: what each call promises, the same for every back end, against a plain dictionary."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualrec.alloc.errors import InputError
from dualrec.alloc.match_events import Event, Expired, Given, Seen, decode
from dualrec.alloc.match_store import Answer, Match, MatchStore, Request, ShortError, StoreError
from dualrec.alloc.redis_store import RedisStore
from dualrec.alloc.sqlite_store import SqliteStore

DAY = 5


@pytest.fixture(params=["sqlite", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], MatchStore]]:
    """Opens the same store again and again."""
    stores: list[MatchStore] = []
    url = request.getfixturevalue("redis_server") if request.param == "redis" else ""

    def again() -> MatchStore:
        stores.append(RedisStore(url, tmp_path.name) if url else SqliteStore(tmp_path / "matches.db"))
        return stores[-1]

    yield again
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[[], MatchStore]) -> MatchStore:
    made = opened()
    made.open_day(DAY, np.array([2, 1, 0, 3]))
    return made


def asked(item: str, user: list[int], demand: int = 9, *, part: int = 0, made: int = 1_000) -> Request:
    return Request(item, np.array(user, np.int64), np.array(user) / 10 + 0.5, demand, made, part)


def users(answer: Answer | None) -> list[int]:
    assert answer is not None
    return answer.user.tolist()


def test_the_first_users_with_places_in_the_order_asked(store: MatchStore) -> None:
    answer = store.reserve(DAY, asked("a", [3, 2, 1, 0], 2))
    assert (answer.item, answer.day, users(answer), answer.repeated) == ("a", DAY, [3, 1], False)
    np.testing.assert_array_equal(answer.score, np.array([0.8, 0.6], np.float32))
    assert store.left(DAY).tolist() == [2, 0, 0, 2]
    assert users(store.reserve(DAY, asked("b", [1, 99, 0]))) == [0], "one is full, 99 unknown to the day"
    assert users(store.reserve(DAY, asked("c", [2]))) == []
    assert store.answered(DAY) == 3


def test_a_retried_item_gets_the_same_answer(store: MatchStore, opened: Callable[[], MatchStore]) -> None:
    first = store.reserve(DAY, asked("a", [0, 3], 1))
    for other in (store, opened()):
        again = other.reserve(DAY, asked("a", [3, 1], 5))
        assert again.repeated and users(again) == users(first) == [0]
        assert users(other.answer("a")) == [0]
    assert store.left(DAY).tolist() == [1, 1, 0, 3]
    assert store.answer("b") is None


def test_too_few_users_are_none_where_a_least_number_is_wanted(store: MatchStore) -> None:
    few = Request("a", np.array([0, 1, 2]), np.ones(3), 3, 0, least=3)
    with pytest.raises(ShortError, match="2 users"):
        store.reserve(DAY, few)
    assert store.answer("a") is None and store.left(DAY).tolist() == [2, 1, 0, 3] and store.answered(DAY) == 0
    assert users(store.reserve(DAY, replace(few, least=2))) == [0, 1]


def test_a_day_is_for_one_set_of_people(store: MatchStore) -> None:
    assert store.people(DAY) == ""
    store.open_day(DAY + 1, np.array([1, 2]), "those")
    store.open_day(DAY + 1, np.array([1, 2]), "those")
    with pytest.raises(StoreError, match="other users"):
        store.open_day(DAY + 1, np.array([1, 2]), "others")
    assert store.people(DAY + 1) == "those"


def test_a_top_up_on_another_day_is_no_new_item_and_outlives_it(store: MatchStore) -> None:
    store.open_day(DAY + 1, np.array([1, 1]))
    store.reserve(DAY, asked("a", [0]))
    assert users(store.reserve(DAY + 1, asked("a", [0, 1], part=1))) == [1]
    assert (store.answered(DAY), store.answered(DAY + 1)) == (1, 0)
    store.forget(DAY)
    assert store.answer("a") is None and users(store.answer("a", 1)) == [1]
    assert users(store.reserve(DAY + 1, asked("a", [0, 1], part=2))) == [0]


def test_a_top_up_gives_other_users(store: MatchStore) -> None:
    store.reserve(DAY, asked("a", [0, 3], 1))
    assert users(store.reserve(DAY, asked("a", [0, 3, 1], 1, part=1))) == [3]
    assert users(store.reserve(DAY, asked("a", [0, 3, 1], 9, part=2))) == [1]
    assert store.reserve(DAY, asked("a", [0], part=1)).repeated
    assert store.left(DAY).tolist() == [1, 0, 0, 2]


def test_a_users_matches_and_what_was_shown(store: MatchStore) -> None:
    store.reserve(DAY, Request("low", np.array([0]), np.array([0.25]), 1, 1))
    store.reserve(DAY, Request("high", np.array([0, 3]), np.array([4.0, 1.0]), 2, 1))
    assert store.matches(DAY, 0) == [Match("high", 4.0, False), Match("low", 0.25, False)]
    assert store.show(DAY, 0, "low") and not store.show(DAY, 0, "nothing") and not store.show(DAY, 1, "low")
    assert store.matches(DAY, 0)[1] == Match("low", 0.25, True)
    assert store.matches(DAY, 77) == []


def test_matches_that_were_never_shown_give_their_places_back(store: MatchStore) -> None:
    store.reserve(DAY, asked("old", [0, 1, 3], made=10))
    store.reserve(DAY, asked("new", [0, 3], made=20))
    store.show(DAY, 0, "old")
    assert store.expire(DAY, 10) == 0
    assert store.expire(DAY, 20) == 2
    assert store.left(DAY).tolist() == [0, 1, 0, 2]
    assert users(store.answer("old")) == [0, 1, 3], "what was said stays said"
    assert store.expire(DAY, 20) == 0
    assert [match.item for match in store.matches(DAY, 3)] == ["new"]


def test_days_do_not_touch_each_other(store: MatchStore) -> None:
    store.open_day(DAY + 1, np.array([1]))
    store.open_day(DAY, np.array([2, 1, 0, 3]))
    store.reserve(DAY, asked("a", [0]))
    assert store.left(DAY + 1).tolist() == [1]
    assert users(store.reserve(DAY + 1, asked("b", [0, 1]))) == [0]
    assert store.reserve(DAY + 1, asked("a", [0])).repeated, "a retry after midnight"
    store.forget(DAY)
    assert store.answer("a") is None and store.left(DAY + 1).tolist() == [0]
    with pytest.raises(StoreError, match="day 5 is not open"):
        store.left(DAY)
    store.open_day(DAY, np.array([7]))
    assert store.left(DAY).tolist() == [7]


def test_what_cannot_be_is_refused_and_nothing_changes(store: MatchStore) -> None:
    with pytest.raises(StoreError, match="other users or capacities"):
        store.open_day(DAY, np.array([2, 1, 0, 4]))
    for capacity in (np.array([1.5]), np.array([-1]), np.array([[1]])):
        with pytest.raises(StoreError, match="expected capacity"):
            store.open_day(9, capacity)
    for call in (lambda: store.reserve(9, asked("a", [0])), lambda: store.matches(9, 0), lambda: store.expire(9, 1)):
        with pytest.raises(StoreError, match="day 9 is not open"):
            call()
    assert store.left(DAY).tolist() == [2, 1, 0, 3] and store.answer("a") is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item": ""}, "0 characters"),
        ({"item": "x" * 257}, "257 characters"),
        ({"user": np.array([0, 0])}, "each once"),
        ({"user": np.array([0, -1])}, "from 0 up"),
        ({"user": np.array([0])}, "one length"),
        ({"user": np.array([0.0, 1.0])}, "user int"),
        ({"score": np.array([0.0, np.nan])}, "finite"),
        ({"demand": -1}, "below 0"),
        ({"part": -1}, "below 0"),
        ({"score": np.array([0.0, 1e300])}, "range of float32"),
        ({"item": "\ud800"}, "UTF-8"),
        ({"item": 5}, "text"),
        ({"made": 2**63}, "64 signed bits"),
        ({"made": 1.5}, "an integer"),
        ({"demand": 0.5}, "an integer"),
    ],
)
def test_requests_are_checked(changes: dict, message: str) -> None:
    good = {"item": "a", "user": np.array([0, 1]), "score": np.array([1.0, 2.0]), "demand": 1, "made": 0}
    with pytest.raises(InputError, match=message):
        Request(**{**good, **changes})


def test_numpys_integers_are_integers(store: MatchStore) -> None:
    day, zero, user = np.int64(DAY), np.int32(0), np.int64(0)
    request = Request("a", np.array([0, 1]), np.ones(2), np.int64(5), np.int64(10), zero)  # type: ignore[arg-type]
    assert users(store.reserve(day, request)) == [0, 1]  # type: ignore[arg-type]
    assert users(store.answer("a", zero)) == [0, 1]  # type: ignore[arg-type]
    assert store.reserve(DAY, asked("a", [3])).repeated
    assert len(store.matches(day, user)) == store.answered(day) == 1  # type: ignore[arg-type]
    assert store.show(day, user, "a")  # type: ignore[arg-type]
    assert store.expire(DAY, np.int64(5)) == 0 and store.expire(day, np.int64(11)) == 1  # type: ignore[arg-type]
    assert store.left(day).tolist() == [1, 1, 0, 3]  # type: ignore[arg-type]
    for wrong in (0.5, "1", None, 2**64):
        with pytest.raises(StoreError, match="expected"):
            store.left(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("item", ["'; DROP TABLE match; --", "naïve ☂ id", "a\nb", "x" * 256, "{}:*"])
def test_any_text_is_an_item(store: MatchStore, item: str) -> None:
    assert users(store.reserve(DAY, asked(item, [0]))) == [0]
    assert store.matches(DAY, 0) == [Match(item, 0.5, False)]
    assert store.show(DAY, 0, item) and users(store.answer(item)) == [0]


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "reserve", "top up", "show", "expire"]),
        st.sampled_from("abcdef"),
        st.lists(st.integers(0, 5), unique=True, max_size=6),
        st.integers(0, 4),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CALLS, st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_it_does_what_a_dictionary_does(opened: Callable[[], MatchStore], calls: list, capacity: list[int]) -> None:
    store = opened()
    store.forget(DAY)
    store.open_day(DAY, np.array(capacity))
    left, answers, waiting = list(capacity), {}, {}
    for number, (what, item, user, demand) in enumerate(calls):
        part = int(what == "top up")
        if what in ("reserve", "top up"):
            if (item, part) not in answers:
                held = {u for (name, _), got in answers.items() if name == item for u in got}
                got = [u for u in user if u < 5 and left[u] and u not in held][:demand]
                answers[item, part] = got
                for u in got:
                    left[u] -= 1
                    waiting[u, item] = number
            answer = store.reserve(DAY, asked(item, user, demand, part=part, made=number))
            assert users(answer) == answers[item, part]
        elif what == "show" and user:
            assert store.show(DAY, user[0], item) == ((user[0], item) in waiting)
            if (user[0], item) in waiting:
                waiting[user[0], item] = 10**9
        elif what == "expire":
            gone = [pair for pair, made in waiting.items() if made < number - demand]
            assert store.expire(DAY, number - demand) == len(gone)
            for u, name in gone:
                left[u] += 1
                del waiting[u, name]
        assert store.left(DAY).tolist() == left
    for u in range(5):
        assert sorted(match.item for match in store.matches(DAY, u)) == sorted(i for (who, i) in waiting if who == u)


BATCHES = st.lists(
    st.tuples(
        st.lists(
            st.tuples(
                st.sampled_from("abcd"),
                st.integers(0, 1),
                st.lists(st.integers(0, 5), unique=True, max_size=6),
                st.integers(0, 4),
                st.integers(0, 3),
            ),
            max_size=6,
        ),
        st.booleans(),
        st.integers(-1, 5),
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BATCHES, st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_many_at_once_get_what_they_get_one_after_the_other(
    opened: Callable[[], MatchStore], batches: list, capacity: list[int]
) -> None:
    """Two days of one store, their items named apart; now and then another process takes the next batch, or some expire."""
    stores = [opened(), opened()]
    for day in (DAY, DAY + 1):
        stores[0].forget(day)
        stores[0].open_day(day, np.array(capacity))
    for number, (batch, turn, old) in enumerate(batches):
        store, found = stores[turn], []
        requests = [
            replace(asked(item, user, demand, part=part, made=number), least=least)
            for item, part, user, demand, least in batch
        ]
        for one in requests:
            try:
                found.append(store.reserve(DAY, one))
            except ShortError as error:
                found.append(error)
        together = store.reserve_many(DAY + 1, [replace(one, item=one.item + "'") for one in requests])
        for one, other in zip(found, together, strict=True):
            if isinstance(one, ShortError):
                assert str(one).partition(":")[2] == str(other).partition(":")[2]
            else:
                assert (users(one), one.part, one.repeated) == (users(other), other.part, other.repeated)
        assert store.expire(DAY, old) == store.expire(DAY + 1, old)
        assert store.left(DAY).tolist() == store.left(DAY + 1).tolist()
        assert store.answered(DAY) == store.answered(DAY + 1)
    for u in range(5):
        plain, marked = (stores[0].matches(day, u) for day in (DAY, DAY + 1))
        assert [replace(match, item=match.item + "'") for match in plain] == marked


def test_what_others_did_since_this_process_last_looked(opened: Callable[[], MatchStore]) -> None:
    one, other = opened(), opened()
    one.open_day(DAY, np.array([1, 3, 400]))
    assert users(one.reserve(DAY, asked("first", [2]))) == [2]
    other.reserve(DAY, asked("a", [0, 1]))
    other.show(DAY, 1, "a")
    assert users(one.reserve(DAY, asked("b", [0, 1, 2]))) == [1, 2], "the only place of 0 is gone"
    for number in range(150):
        other.reserve(DAY, asked(f"other {number}", [2, 1], 1 + (number == 149)))
    assert users(one.reserve(DAY, asked("c", [2, 1]))) == [2]
    other.reserve(DAY, asked("late", [2], made=9_000))
    assert other.expire(DAY, 5_000) == 156
    assert users(one.reserve(DAY, asked("d", [0, 1, 2]))) == [0, 1, 2]
    assert one.left(DAY).tolist() == other.left(DAY).tolist() == [0, 1, 398]
    other.forget(DAY)
    other.open_day(DAY, np.array([1, 1]))
    assert users(one.reserve(DAY, asked("e", [0, 1, 2]))) == [0, 1]
    assert one.matches(DAY, 0) == [Match("e", 0.5, False)]


def test_a_call_that_fails_leaves_no_trace(store: MatchStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the second request of two, in SQLite as a full disk; the copy in memory goes with it."""
    store.reserve(DAY, asked("a", [0]))
    bad = asked("b", [3])
    object.__setattr__(bad, "item", "\ud800")
    for _ in range(2):
        with pytest.raises(ValueError):
            store.reserve_many(DAY, [asked("c", [0, 1]), bad])
        if isinstance(store, SqliteStore):
            assert store.answer("c") is None and store.left(DAY).tolist() == [1, 1, 0, 3]
    assert store.left(DAY).tolist() == [1, 1, 0, 3]


def test_several_at_once_never_exceed_a_capacity(opened: Callable[[], MatchStore]) -> None:
    opened().open_day(DAY, np.full(20, 3))
    stores, got = [opened() for _ in range(4)], []

    def work(number: int) -> None:
        for k in range(20):
            item = f"item {(7 * number + k) % 40}"
            order = np.random.default_rng(k).permutation(20).tolist()
            got.append(stores[number].reserve(DAY, asked(item, order, 4)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 80
    by_item = {answer.item: answer.user.tolist() for answer in got}
    assert all(by_item[answer.item] == answer.user.tolist() for answer in got)
    load = np.bincount(np.concatenate([np.array(u, np.int64) for u in by_item.values()]), minlength=20)
    assert (load <= 3).all() and (stores[0].left(DAY) == 3 - load).all()


@pytest.mark.parametrize(
    ("setting", "value", "good"),
    [("appendonly", "no", "yes"), ("appendfsync", "everysec", "always"), ("no-appendfsync-on-rewrite", "yes", "no")],
)
def test_a_server_that_a_crash_could_make_a_liar_is_refused(
    redis_server: str, setting: str, value: str, good: str
) -> None:
    import redis

    with redis.Redis.from_url(redis_server) as client:
        client.config_set(setting, value)
        try:
            with pytest.raises(StoreError, match=f"{setting} {value}, expected {good}"):
                RedisStore(redis_server)
            RedisStore(redis_server, durable=False).close()
        finally:
            client.config_set(setting, good)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis://127.0.0.1:abc/0"])
def test_a_server_that_is_not_there_is_an_error(url: str) -> None:
    with pytest.raises(StoreError, match="the Redis store"):
        RedisStore(url)


def test_a_file_of_an_earlier_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    old = apsw.Connection(str(path))
    old.execute("CREATE TABLE match (day INTEGER)")
    old.close()
    with pytest.raises(StoreError, match="format 0, expected 2: take a new file"):
        SqliteStore(path)


def test_a_server_with_an_earlier_format_is_refused(redis_server: str, tmp_path: Path) -> None:
    import redis

    with redis.Redis.from_url(redis_server) as client:
        client.hset(tmp_path.name, "p:5:1", "3")
        with pytest.raises(StoreError, match="format 1, expected 2: take an empty server, or another prefix"):
            RedisStore(redis_server, tmp_path.name)
        assert client.hlen(tmp_path.name) == 1


def test_a_redis_day_half_forgotten_is_forgotten_before_it_is_opened(redis_server: str, tmp_path: Path) -> None:
    import redis

    store = RedisStore(redis_server, tmp_path.name)
    store.open_day(DAY, np.array([1, 1]))
    store.reserve(DAY, asked("a", [0]))
    with redis.Redis.from_url(redis_server) as client:
        client.hdel(tmp_path.name, f"w:{DAY}")  # so far somebody came who was killed
        with pytest.raises(StoreError, match="day 5 is not open"):
            store.reserve(DAY, asked("b", [1]))
        store.open_day(DAY, np.array([1, 1]))
        assert store.answer("a") is None and store.left(DAY).tolist() == [1, 1]
        store.forget(DAY)
        assert client.hkeys(tmp_path.name) == [b"version"]
    store.close()


@pytest.mark.parametrize(
    "event", [Given("ä\n", 3, -5, np.array([7, 1]), np.array([0.5, -1])), Seen(4, "x y"), Expired(-9)]
)
def test_events_are_read_as_written(event: Event) -> None:
    back = decode(event.encode())
    assert back.encode() == event.encode() and type(back) is type(event)
    if isinstance(event, Given) and isinstance(back, Given):
        assert (back.item, back.part, back.made, back.user.tolist()) == ("ä\n", 3, -5, [7, 1])


@pytest.mark.parametrize("bytes_", [b"", b"A 0 0 9\nshort", b"S x\n", b"Q 1\n", b"A 0 0\n"])
def test_bytes_that_are_no_event(bytes_: bytes) -> None:
    with pytest.raises(ValueError):
        decode(bytes_)
