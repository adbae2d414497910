"""What an agent developer writes with: Agent, Context, Result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

import structlog

from kafleet.errors import InvalidAgent, UnknownLane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator
    from datetime import datetime

    from kafleet.records import Headers

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Result:
    """A return value with a key or a type of its own. `key` None keeps the task's key."""

    value: Any
    key: str | bytes | None = None
    type: str | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """A record that a handler asked to send to another lane."""

    lane: str
    payload: Any
    key: str | bytes | None
    type: str | None


class Context:
    """What a handler knows about the record it works on. A test makes one by hand: `Context(id="1")`.

    `type` is the record's ce_type, None if it has none. `attempt` counts from 1. `deadline` is when the whole
    task must be done, None if nobody said. `lanes` are the names that `send` accepts, None in a test: any.
    `headers` are the record's own. `emitted` lists what was sent so far.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the record's ce_id
        key: str | None = None,
        *,
        type: str | None = None,  # noqa: A002 - the record's ce_type
        attempt: int = 1,
        deadline: datetime | None = None,
        correlation_id: str = "",
        config: Mapping[str, Any] | None = None,
        lanes: frozenset[str] | None = None,
        headers: Mapping[str, bytes | None] | Headers | None = None,
    ) -> None:
        self.id = id
        self.key = key
        self.type = type
        self.attempt = attempt
        self.deadline = deadline
        self.correlation_id = correlation_id or id
        self.config: Mapping[str, Any] = {} if config is None else config
        self.lanes = lanes
        self.emitted: list[Any] = []
        self._headers = headers

    @cached_property
    def headers(self) -> dict[str, bytes | None]:
        """The record's headers; of several with one name the last."""
        return dict(self._headers or ())

    @cached_property
    def log(self) -> Any:  # noqa: ANN401 - structlog's loggers are of no fixed type
        """A logger that names the record in each line."""
        return structlog.get_logger().bind(record_id=self.id, attempt=self.attempt)

    def send(
        self,
        lane: str,
        payload: object,
        *,
        key: str | bytes | None = None,
        type: str | None = None,  # noqa: A002 - the record's ce_type, as in Result
    ) -> Awaitable[None]:
        """Send a task to another lane when this handler has ended well; without `key` a unique one is used.

        Works at once, so a blocking handler calls it without `await`. Raises UnknownLane if this lane may not
        write there.
        """
        if self.lanes is not None and lane not in self.lanes:
            raise UnknownLane(
                f"no lane {lane!r} to send to, there is {', '.join(sorted(self.lanes)) or 'none'}"
            )
        self.emitted.append(Send(lane, payload, key, type))
        return _Done()


class _Done:
    """What there is to await where everything has happened already."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


@dataclass(frozen=True, slots=True)
class Task:
    """A registered handler; `type` None takes every record that no other handler takes."""

    function: Callable[..., Any]
    type: str | None


class Agent:
    """The handlers of one lane. Registered functions stay what they are: a test calls them."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    @overload
    def task(self, function: Function, /) -> Function: ...

    @overload
    def task(self, /, *, type: str | None = None) -> Callable[[Function], Function]: ...

    def task(self, function: Callable[..., Any] | None = None, /, *, type: str | None = None) -> Any:  # noqa: A002 - ce_type; see the overloads
        """Register a handler for tasks: `@agent.task`, or `@agent.task(type="refund")` for one ce_type."""

        def register(function: Function) -> Function:
            taken = next((task for task in self.tasks if task.type == type), None)
            if taken is not None:
                what = "every task" if type is None else f"tasks of type {type!r}"
                raise InvalidAgent(
                    f"two handlers for {what}: {name_of(taken.function)!r} and {name_of(function)!r};"
                    " give one of them another type"
                )
            self.tasks.append(Task(function, type))
            return function

        return register if function is None else register(function)


def name_of(function: object) -> str:
    """Return a function's name for people; of an object that can be called, its class's."""
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__qualname__", type(function).__qualname__))
