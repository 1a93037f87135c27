"""`dualrec serve`: the stream over HTTP, one process, loopback unless a key is set."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException as HTTPError

from ..solvers.errors import ProblemError
from .combined import BoostControl, combine
from .errors import InputError
from .match_store import MOST_ITEM_CHARACTERS, Match, StoreError
from .new_item import NewItem, check_form
from .nights import Nights
from .request_guard import RequestGuard
from .store_queue import StoreQueue
from .stream import Stream, Upload

MOST_CANDIDATES = 100_000
MOST_CONTENT = 10_000
_INT64 = 2**63 - 1
_OPEN = ("/health",)
_OF_BODIES = (400, 401, 408, 411, 413, 422)

IntegerId = Annotated[int, Field(ge=-_INT64, le=_INT64)]
TextId = Annotated[str, Field(max_length=MOST_ITEM_CHARACTERS)]
ItemId = Annotated[str, Field(min_length=1, max_length=MOST_ITEM_CHARACTERS)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class UploadBody(_Body):
    """A new item with its candidates, scores in the units of the night's; or with what is known of it: category, creator,
    content. Then users are sought among all of the night."""

    item: ItemId
    scores: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default=[], max_length=MOST_CANDIDATES)
    category: TextId | IntegerId | None = None
    creator: TextId | IntegerId | None = None
    content: list[Annotated[float, Field(allow_inf_nan=False)]] | None = Field(default=None, max_length=MOST_CONTENT)
    demand: int = Field(default=200, ge=0, le=MOST_CANDIDATES)
    part: int = Field(default=0, ge=0, le=1_000, description="1, 2, ... for top-ups")

    @model_validator(mode="after")
    def _one_form(self) -> "UploadBody":
        check_form(self.model_fields_set)
        return self


class IntegerUpload(UploadBody):
    """A new item with its candidates, users named by integers."""

    users: list[IntegerId] = Field(default=[], max_length=MOST_CANDIDATES)
    excluded: list[IntegerId] = Field(default=[], max_length=MOST_CANDIDATES)


class TextUpload(UploadBody):
    """A new item with its candidates, users named by text."""

    users: list[TextId] = Field(default=[], max_length=MOST_CANDIDATES)
    excluded: list[TextId] = Field(default=[], max_length=MOST_CANDIDATES)


class AnswerBody(_Body):
    """The users that an item got."""

    item: str
    part: int
    users: list[int] | list[str]
    scores: list[float]
    repeated: bool


class MatchBody(_Body):
    """One match of a user."""

    item: str
    score: float
    shown: bool


class FeedBody(_Body):
    """What the user-side recommender would show, with its scores."""

    items: list[ItemId] = Field(max_length=MOST_CANDIDATES)
    scores: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(max_length=MOST_CANDIDATES)
    count: int = Field(default=10, ge=0, le=1_000, description="how many will be shown")


class FeedItemBody(_Body):
    """One place of a list."""

    item: str
    score: float
    match: bool


class ShownBody(_Body):
    """That a user saw an item."""

    item: ItemId


class ErrorBody(_Body):
    """What went wrong: what was found and what was expected."""

    error: str


def make_app(
    stream: Stream | Nights, key: str | None, clock: Callable[[], float] = time.time, match_share: float = 0.02
) -> FastAPI:
    """The application over an open stream, or over that of the night in force.

    ``key``: the bearer token that every request but /health must bring; ``match_share``: of all exposures, that of the
    matches which /feed holds.

    The store is worked off the event loop, in the order of arrival, so that slow clients hold up nobody.
    """
    body = TextUpload if stream.kind == "U" else IntegerUpload
    meters, control, queue = _Meters(), BoostControl(match_share), StoreQueue(stream, clock)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        yield
        stream.store.close()

    app = FastAPI(title="dualrec", summary="Which users for this item?", version="1", lifespan=life)

    app.add_middleware(RequestGuard, key=key, free=_OPEN, refuse=_error)

    @app.exception_handler(InputError)
    async def refused(_request: Request, error: InputError) -> JSONResponse:
        return _error(503 if isinstance(error, StoreError) else 422, str(error))

    @app.exception_handler(ProblemError)
    async def unusable(_request: Request, error: ProblemError) -> JSONResponse:
        return _error(422, str(error))

    @app.exception_handler(HTTPError)
    async def failed(_request: Request, error: HTTPError) -> JSONResponse:
        return _error(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _error(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    @app.post("/items", response_model=AnswerBody, responses=_errors(*_OF_BODIES, 503))
    async def allocate(upload: body) -> Response:  # type: ignore[valid-type]
        """Users for a new item, once that is on disk; the same item and part again gets the same answer."""
        asked = _asked(upload)
        with meters.seconds.time():
            answer = await queue.allocate(asked)
        meters.count(answer.repeated, len(answer.user))
        users, scores = stream.names(answer), answer.score.tolist()
        told = AnswerBody(item=answer.item, part=answer.part, users=users, scores=scores, repeated=answer.repeated)
        return Response(told.model_dump_json(), media_type="application/json")

    @app.get("/users/{user:path}/matches", responses=_errors(401, 404, 422, 503))
    async def matches(user: Annotated[str, Path(max_length=MOST_ITEM_CHARACTERS)]) -> list[MatchBody]:
        """A user's matches of the day, best first."""
        found = await queue.run(_matches, stream, user)
        return [MatchBody(item=match.item, score=match.score, shown=match.shown) for match in found]

    @app.post("/users/{user:path}/feed", responses=_errors(*_OF_BODIES, 404, 503))
    async def feed(user: Annotated[str, Path(max_length=MOST_ITEM_CHARACTERS)], body: FeedBody) -> list[FeedItemBody]:
        """What to show: the user's matches among other candidates, their share of all exposures held (eq. 14).

        The places are taken as seen, for the share; `shown` says which matches were.
        """
        found = await queue.run(_matches, stream, user)
        best = combine(body.items, body.scores, found, control.boost, body.count)
        control.note(len(best), sum(one.match for one in best))
        return [FeedItemBody(item=one.item, score=one.score, match=one.match) for one in best]

    @app.post("/users/{user:path}/shown", responses=_errors(*_OF_BODIES, 404, 503), status_code=204)
    async def shown(user: Annotated[str, Path(max_length=MOST_ITEM_CHARACTERS)], body: ShownBody) -> None:
        """Notes that a user saw an item: the match never expires."""
        if not await queue.run(_show, stream, user, body.item):
            raise HTTPException(404, f"user {user} has no match with item {body.item!r} today")

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/metrics", responses=_errors(401), response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counters and the histogram of seconds, for Prometheus."""
        return Response(generate_latest(meters.registry), media_type="text/plain; version=0.0.4")

    return app


class _Meters:
    """What /metrics tells."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.answers = Counter("dualrec_answers", "Items answered", ["repeated"], registry=self.registry)
        self.matches = Counter("dualrec_matches", "Users given to items", registry=self.registry)
        edges = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5, 2.0, 10.0)
        self.seconds = Histogram("dualrec_allocate_seconds", "Of one item", buckets=edges, registry=self.registry)

    def count(self, repeated: bool, users: int) -> None:
        """One answer with that many users."""
        self.answers.labels(str(repeated).lower()).inc()
        self.matches.inc(0 if repeated else users)


def _asked(body: IntegerUpload | TextUpload) -> Upload:
    described = check_form(body.model_fields_set)
    new = NewItem(body.category, body.creator, body.content) if described else None
    return Upload(body.item, body.users, body.scores, body.demand, body.excluded, body.part, new)


def _matches(stream: Stream | Nights, user: str, now: int) -> list[Match]:
    night = stream.at(now)
    return night.matches(_row(night, user), now)


def _show(stream: Stream | Nights, user: str, item: str, now: int) -> bool:
    night = stream.at(now)
    return night.show(_row(night, user), item, now)


def _row(night: Stream, user: str) -> int:
    """The row of a user named in a path. Raises HTTPException 404."""
    row = night.row(user)
    if row is None:
        raise HTTPException(404, f"user {user!r:.60} is not among those of the night")
    return row


def _errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": ErrorBody} for code in codes}


def _error(code: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": " ".join(text.split())}, code, headers)
