"""What is wrong with an agent is said at start, with the way out."""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import TYPE_CHECKING, Any

import pytest

from kafleet import Agent, Context
from kafleet.errors import InvalidAgent
from kafleet.lanes import Code
from kafleet.loading import Form, handlers_of, load_handlers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from decimal import Decimal
    from pathlib import Path


@pytest.fixture(autouse=True)
def _import_path() -> Iterator[None]:
    """Leave the import system as it was."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def code(folder: Path, text: str, handler: str = "mine:agent") -> Code:
    (folder / "mine.py").write_text(text)
    return Code.model_validate({"handler": handler, "codePath": str(folder), "config": {}})


AGENT = "from kafleet import Agent\nagent = Agent()\n"


def test_an_agent_is_imported_from_its_folder(tmp_path: Path) -> None:
    handlers = load_handlers(code(tmp_path, f"{AGENT}@agent.task\nasync def work(task: dict): ...\n"))

    handler = handlers.handler_for("anything")
    assert handler is not None
    assert (handler.name, handler.form, handler.takes_context) == ("work", Form.COROUTINE, False)


def test_an_agent_may_be_an_attribute_of_an_attribute(tmp_path: Path) -> None:
    text = f"{AGENT}@agent.task\nasync def work(task: dict): ...\nclass Box:\n    inner = agent\n"

    assert load_handlers(code(tmp_path, text, "mine:Box.inner"))


@pytest.mark.parametrize(
    ("text", "handler", "reason"),
    [
        (
            "",
            "missing_module:agent",
            "handler 'missing_module:agent': ModuleNotFoundError: No module named 'missing_module'$",
        ),
        (
            "\n1 / 0",
            "mine:agent",
            r"cannot import 'mine'.*ZeroDivisionError: division by zero \(mine.py, line 2\)$",
        ),
        ("import gone", "mine:agent", r"ModuleNotFoundError: No module named 'gone' \(mine.py, line 1\)$"),
        ("import json\n\njson.loads('')", "mine:agent", r"JSONDecodeError: .* \(mine.py, line 3\)$"),
        (
            "import sys; sys.exit(3)",
            "mine:agent",
            r"import 'mine'.*SystemExit: 3 \(mine.py, line 1\)$",
        ),
        ("\ndef f(:", "mine:agent", r"cannot import 'mine'.*SyntaxError: .* \(mine.py, line 2\)$"),
        ("", "mine:agent", "'mine' has no attribute 'agent'"),
        ("agent = 3", "mine:agent", r"is of type 'int', not an Agent; name the `Agent\(\)`"),
        (AGENT, "mine:agent", "no task handler; decorate one with @agent.task"),
        (
            f"{AGENT}@agent.task\nasync def a(x: dict): ...\n@agent.task\nasync def b(x: dict): ...",
            "mine:agent",
            "two handlers for every task: 'a' and 'b'",
        ),
    ],
)
def test_what_cannot_be_loaded_is_named(tmp_path: Path, text: str, handler: str, reason: str) -> None:
    with pytest.raises(InvalidAgent, match=reason):
        load_handlers(code(tmp_path, text, handler))


async def no_annotation(task) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001 - the fault under test
async def nothing() -> None: ...
async def too_much(task: dict[str, Any], ctx: Context, more: int) -> None: ...
async def wrong_context(task: dict[str, Any], ctx: int) -> None: ...
async def only_for_the_type_checker(task: Decimal) -> None: ...
async def misspelt(task: Tikcet) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the fault under test
async def opaque(task: Agent) -> None: ...


class Desk:
    """A handler that brings things along: a model, a client."""

    async def work(self, task: dict[str, Any]) -> str:
        return f"{task} at the desk"

    async def __call__(self, task: bytes, ctx: Context) -> str:
        return f"{task!r} {ctx.attempt} in a call"


def undressed(function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: object) -> object:
        return await function(*args)

    return call


def dressed(function: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(function)(undressed(function))


async def with_client(client: str, task: str, ctx: Context) -> str:
    return f"{client}: {task} {ctx.attempt}"


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (no_annotation, "parameter 'task' of handler 'no_annotation' needs an annotation"),
        (nothing, "must take its input"),
        (too_much, r"must take its input.*; not \(task: .*, more: 'int'\); fill others by functools.partial"),
        (undressed(too_much), "must take its input.*a decorator around it must use functools.wraps"),
        (Desk.work, r"'Desk.work' is a method without its object.*: agent.task\(thing.work\)"),
        (Desk, "'Desk' is a class; register an instance of it, or a function"),
        (print, "must take its input"),
        (dict.fromkeys, "does not say what it takes|needs an annotation|must take"),
        (wrong_context, "parameter 'ctx' of handler 'wrong_context' must be a Context, not <class 'int'>"),
        (only_for_the_type_checker, "name 'Decimal' is not defined.*not only under TYPE_CHECKING"),
        (misspelt, "name 'Tikcet' is not defined"),
        (opaque, "annotation <class 'kafleet.agents.Agent'> of handler 'opaque' is not understood"),
    ],
)
def test_a_handler_that_cannot_be_called_is_named(function: Any, reason: str) -> None:  # noqa: ANN401 - any function
    agent = Agent()
    agent.task(function)

    with pytest.raises(InvalidAgent, match=reason):
        handlers_of(agent)


def test_forms_and_types_are_told_apart() -> None:
    agent = Agent()

    @agent.task
    def slow(task: str) -> str:
        return task

    @agent.task(type="refund")
    async def refund(_task: dict[str, Any], ctx: Context) -> AsyncIterator[int]:
        yield ctx.attempt

    @agent.task(type="lines")
    def lines(task: str) -> Iterator[str]:
        yield from task.splitlines()

    handlers = handlers_of(agent)
    forms = {kind: handlers.handler_for(kind) for kind in ("refund", "lines", "else", None)}
    assert {kind: handler and handler.form for kind, handler in forms.items()} == {
        "refund": Form.GENERATOR,
        "lines": Form.BLOCKING_GENERATOR,
        "else": Form.BLOCKING,
        None: Form.BLOCKING,
    }


def test_a_record_without_a_type_goes_to_the_only_handler_and_another_type_to_none() -> None:
    agent = Agent()

    @agent.task(type="refund")
    async def refund(_task: dict[str, Any]) -> None: ...

    handlers = handlers_of(agent)
    assert handlers.handler_for(None) is handlers.handler_for("refund")
    assert handlers.handler_for("sale") is None


@pytest.mark.parametrize(
    ("function", "name", "value", "answer"),
    [
        (Desk().work, "Desk.work", b"{}", "{} at the desk"),
        (Desk(), "Desk", b"x", "b'x' 1 in a call"),
        (dressed(Desk().work), "Desk.work", b"{}", "{} at the desk"),
        (functools.partial(with_client, "me"), "with_client", b"x", "me: x 1"),
        (functools.partial(with_client, client="me"), "with_client", b"x", None),
        (functools.partial(dressed(with_client), "me"), "with_client", b"x", "me: x 1"),
    ],
)
def test_a_handler_may_be_a_method_an_object_a_partial_or_decorated(
    function: Callable[..., Any], name: str, value: bytes, answer: str | None
) -> None:
    agent = Agent()
    agent.task(function)
    if answer is None:  # by keyword the first parameter is what is filled, and no place is left for the rest
        with pytest.raises(InvalidAgent, match="must take its input"):
            handlers_of(agent)
        return

    handler = handlers_of(agent).handler_for(None)
    assert handler is not None
    arguments = [handler.decode(value), Context(id="1")][: 1 + handler.takes_context]
    assert (handler.name, handler.form) == (name, Form.COROUTINE)
    assert asyncio.run(handler.function(*arguments)) == answer
