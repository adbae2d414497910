"""What is wrong with an agent is said at start, with the way out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from kafleet import Agent, Context
from kafleet.errors import InvalidAgent
from kafleet.lanes import Code
from kafleet.loading import Form, handlers_of, load_handlers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
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
def plain_generator(task: dict[str, Any]) -> Iterator[int]:
    yield len(task)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (no_annotation, "parameter 'task' of handler 'no_annotation' needs an annotation"),
        (nothing, "must take its input"),
        (too_much, "must take its input"),
        (wrong_context, "parameter 'ctx' of handler 'wrong_context' must be a Context, not <class 'int'>"),
        (only_for_the_type_checker, "name 'Decimal' is not defined.*not only under TYPE_CHECKING"),
        (misspelt, "name 'Tikcet' is not defined"),
        (opaque, "annotation <class 'kafleet.agents.Agent'> of handler 'opaque' is not understood"),
        (plain_generator, "plain generator; write it as `async def` with `yield`"),
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

    handlers = handlers_of(agent)
    forms = {kind: handlers.handler_for(kind) for kind in ("refund", "else", None)}
    assert {kind: handler and handler.form for kind, handler in forms.items()} == {
        "refund": Form.GENERATOR,
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
