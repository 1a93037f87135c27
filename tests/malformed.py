"""Requests and lines that are wrong in every way that a client may think of, drawn from a seed."""

import json
import random
from typing import Any

GOOD = {"item": "a", "users": [0, 3, 5, 9], "scores": [0.5, 0.25, 1.0, 0.1], "demand": 2, "excluded": [4], "part": 0}
BODIES = {
    "/items": GOOD,
    "/users/3/feed": {"items": ["x", "y"], "scores": [0.5, 0.1], "count": 2},
    "/users/3/shown": {"item": "a"},
}
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63,
    -(2**63) - 1,
    10**40,
    0.0,
    -0.0,
    0.5,
    1e308,
    1e-320,
    "",
    "a",
    "\x00",
    "\ud800",
    "ä" * 300,
    "NaN",
    [],
    {},
    [[]],
    [None],
    [0, 0],
    {"a": {}},
    "' OR 1=1 --",
    "../../etc",
    "\u202e",
    "e:1:1",
]
TOKENS = [
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"[",
    b"{",
    b"]",
    b"}",
    b'"',
    b"\\u",
    b"\xff",
    b"\x00",
    b",",
    b":",
    b"null",
    b"//",
    b"9" * 5000,
    b"[" * 2000,
]
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "B@D", ""]
PATHS = [
    "/",
    "/items",
    "/items/",
    "//items",
    "/items?x=1",
    "/users//matches",
    "/users/3/matches",
    "/users/99999/matches",
    "/users/-1/matches",
    "/users/" + "9" * 40 + "/matches",
    "/users/" + "é" * 300 + "/matches",
    "/users/3/feed",
    "/users/3/shown",
    "/users/\x00/matches",
    "/users/%/matches",
    "/users/../health/matches",
    "/health",
    "/docs",
    "/openapi.json",
    "/none",
    "*",
    "",
    "/users/3/matches/matches",
    "/" + "a" * 5000,
]
HEADERS: list[tuple[bytes, bytes]] = [
    (b"content-length", b"-1"),
    (b"content-length", b"x"),
    (b"content-length", b"99999999999999999999"),
    (b"content-length", b""),
    (b"content-length", "٣".encode()),
    (b"content-length", b"3"),
    (b"transfer-encoding", b"chunked"),
    (b"content-type", b"text/plain"),
    (b"content-type", b"application/json; charset=utf-7"),
    (b"content-type", b"multipart/form-data"),
    (b"content-type", b"\xff"),
    (b"authorization", b"Bearer \xff"),
    (b"authorization", b"Basic x"),
    (b"host", b""),
    (b"expect", b"100-continue"),
    (b"content-encoding", b"gzip"),
    (b"upgrade", b"websocket"),
    (b"connection", b"upgrade"),
    (b"x", b"y" * 4000),
    (b"", b""),
]


def mutated_value(luck: random.Random, given: Any) -> Any:
    """A body with one of its values, somewhere inside, another, gone, doubled, or with a field too many."""
    if isinstance(given, dict) and given:
        name = luck.choice(list(given))
        kind, out = luck.random(), dict(given)
        if kind < 0.15:
            del out[name]
        elif kind < 0.25:
            out[luck.choice(["x", "Item", "users ", "\x00", "category", "content", "creator"])] = luck.choice(VALUES)
        elif kind < 0.5:
            out[name] = luck.choice(VALUES)
        else:
            out[name] = mutated_value(luck, given[name])
        return out
    if isinstance(given, list) and given:
        at = luck.randrange(len(given))
        return luck.choice(
            [given[:at], given + given, [*given[:at], luck.choice(VALUES), *given[at + 1 :]], given[::-1]]
        )
    return luck.choice(VALUES)


def mutated_bytes(luck: random.Random, raw: bytes) -> bytes:
    """Bytes cut, flipped, repeated, or with something put in."""
    at = luck.randrange(len(raw) + 1)
    kind = luck.randrange(5)
    if kind == 0:
        return raw[:at]
    if kind == 1 and at < len(raw):
        return raw[:at] + bytes([raw[at] ^ (1 << luck.randrange(8))]) + raw[at + 1 :]
    if kind == 2:
        return raw[:at] + luck.choice(TOKENS) + raw[at:]
    if kind == 3:
        return raw[:at] + luck.randbytes(luck.randrange(20)) + raw[at:]
    return raw + raw[at:]


def body(luck: random.Random, good: Any) -> bytes:
    """JSON that is no request, or bytes that are no JSON."""
    for _ in range(luck.randrange(1, 4)):
        good = mutated_value(luck, good)
    raw = json.dumps(good).encode()
    return mutated_bytes(luck, raw) if luck.random() < 0.4 else raw


def request(luck: random.Random) -> tuple[str, str, list[tuple[bytes, bytes]], bytes]:
    """Method, path, headers and body; at least one of them is drawn at random."""
    path = luck.choice(list(BODIES))
    raw = body(luck, BODIES[path])
    headers = [(b"content-length", str(len(raw)).encode()), (b"content-type", b"application/json")]
    method = "POST"
    if luck.random() < 0.15:
        method = luck.choice(METHODS)
    if luck.random() < 0.2:
        path = luck.choice(PATHS)
    if luck.random() < 0.15:
        headers = [*luck.sample(headers, luck.randrange(3)), luck.choice(HEADERS)]
    return method, path, headers, raw


def raw_request(luck: random.Random) -> bytes:
    """The bytes of a connection: garbage, or a request with its head or body spoilt."""
    if luck.random() < 0.2:
        return luck.randbytes(luck.randrange(1, 200))
    method, path, headers, raw = request(luck)
    lines = [f"{method} {path} HTTP/1.{luck.choice('111109')}".encode(errors="surrogatepass")]
    lines += [name + b": " + value for name, value in [(b"host", b"a"), *headers]]
    whole = b"\r\n".join(lines) + b"\r\n\r\n" + raw
    return mutated_bytes(luck, whole) if luck.random() < 0.5 else whole


def line(luck: random.Random) -> bytes:
    """A line for `dualrec stream`."""
    return body(luck, luck.choice([GOOD, GOOD, [GOOD], {"item": "n", "category": "c", "content": [0.5]}]))
