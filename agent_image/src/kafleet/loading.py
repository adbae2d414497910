"""Loading: from `module:attribute` to handlers that can be called, or a clear reason why not."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
import types
import typing
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kafleet.agents import Agent, Context, Task, name_of
from kafleet.errors import InvalidAgent
from kafleet.payloads import Decoder, decoder_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kafleet.lanes import Code

_MOST_PARAMETERS = 2
_IMPORTERS = frozenset({__file__, importlib.__file__})


class Form(Enum):
    """How a handler is called."""

    COROUTINE = "async def"
    GENERATOR = "async generator"
    BLOCKING = "def, in a thread"
    BLOCKING_GENERATOR = "generator, in a thread"


@dataclass(frozen=True, slots=True)
class Handler:
    """A task handler with everything known about it; `decode` makes its input."""

    name: str
    function: Callable[..., Any]
    form: Form
    decode: Decoder
    takes_context: bool


@dataclass(frozen=True, slots=True)
class Handlers:
    """The handlers of an agent by ce_type; None is the one for everything else."""

    by_type: Mapping[str | None, Handler]

    def handler_for(self, kind: str | None) -> Handler | None:
        """Return the handler of that ce_type; a record without a type goes to the only handler there is."""
        if kind in self.by_type:
            return self.by_type[kind]
        if kind is None and len(self.by_type) == 1:
            return next(iter(self.by_type.values()))
        return self.by_type.get(None)


def load_handlers(code: Code) -> Handlers:
    """Import the agent that the lane file names, or raise InvalidAgent saying what to change."""
    if code.code_path is not None and code.code_path not in sys.path:
        sys.path.insert(0, code.code_path)
    module_name, _, path = code.handler.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except InvalidAgent:
        raise
    except (Exception, SystemExit) as error:
        raise InvalidAgent(
            f"cannot import {module_name!r} of handler {code.handler!r}:"
            f" {type(error).__name__}: {error}{_place(error, code.code_path)}"
        ) from error
    for attribute in path.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise InvalidAgent(
                f"handler {code.handler!r}: {module_name!r} has no attribute {path!r}"
            ) from None
    if not isinstance(found, Agent):
        raise InvalidAgent(
            f"handler {code.handler!r} is of type {type(found).__name__!r}, not an Agent; name the `Agent()`"
        )
    return handlers_of(found)


def _place(error: BaseException, code_path: str | None) -> str:
    """Where in the agent's own code, or else at all, an import failed; a syntax error says so itself."""
    if isinstance(error, SyntaxError):
        return ""
    frames = [
        (Path(frame.filename), frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename not in _IMPORTERS
    ]
    own = [place for place in frames if code_path is not None and place[0].is_relative_to(code_path)]
    if not frames:
        return ""
    path, line = (own or frames)[-1]
    return f" ({path.name}, line {line})"


def handlers_of(agent: Agent) -> Handlers:
    """Check every registered handler, or raise InvalidAgent."""
    if not agent.tasks:
        raise InvalidAgent("the agent has no task handler; decorate one with @agent.task")
    return Handlers({task.type: _handler(task) for task in agent.tasks})


def _handler(task: Task) -> Handler:
    function, name = task.function, name_of(task.function)
    parameters = _parameters(function, name)
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    if not 1 <= len(positional) <= _MOST_PARAMETERS or any(
        parameter not in positional for parameter in required
    ):
        raise InvalidAgent(
            f"handler {name!r} must take its input and, if it likes, a Context: (task: Task, ctx: Context);"
            f" not {inspect.Signature(parameters)}{_way_out(parameters)}"
        )
    hints = _hints(function, name)
    subject = positional[0].name
    if subject not in hints:
        raise InvalidAgent(
            f"parameter {subject!r} of handler {name!r} needs an annotation: it says what the payload is"
        )
    takes_context = len(positional) == _MOST_PARAMETERS
    if takes_context and hints.get(positional[1].name, Context) is not Context:
        raise InvalidAgent(
            f"parameter {positional[1].name!r} of handler {name!r} must be a Context,"
            f" not {hints[positional[1].name]!r}"
        )
    try:
        decode = decoder_for(hints[subject])
    except TypeError as error:
        raise InvalidAgent(
            f"annotation {hints[subject]!r} of handler {name!r} is not understood: {error}"
        ) from None
    return Handler(name, function, _form(function), decode, takes_context)


def _parameters(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    if inspect.isclass(function):
        raise InvalidAgent(f"handler {name!r} is a class; register an instance of it, or a function")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise InvalidAgent(f"handler {name!r} does not say what it takes; wrap it in a function") from None
    if parameters and parameters[0].name == "self":
        raise InvalidAgent(
            f"handler {name!r} is a method without its object; register it when there is one:"
            f" agent.task(thing.{name.rpartition('.')[2]})"
        )
    return parameters


def _way_out(parameters: list[inspect.Parameter]) -> str:
    """Say what to do about parameters that a decorator hides, or that something else has to fill."""
    if any(parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) for parameter in parameters):
        return "; a decorator around it must use functools.wraps"
    return "; fill others by functools.partial" if len(parameters) > _MOST_PARAMETERS else ""


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        # Not the return annotation: nothing needs it here, and it may be for the type checker only.
        written = _called(inspect.unwrap(_called(function)))
        annotations = getattr(written, "__annotations__", {})
        wanted = {parameter: hint for parameter, hint in annotations.items() if parameter != "return"}
        holder = types.SimpleNamespace(__annotations__=wanted)
        return typing.get_type_hints(holder, getattr(written, "__globals__", {}), include_extras=True)
    except NameError as error:
        raise InvalidAgent(
            f"annotation of handler {name!r} is not understood: {error};"
            " it must be importable when the agent runs, not only under TYPE_CHECKING"
        ) from None
    except TypeError as error:
        raise InvalidAgent(f"annotation of handler {name!r} is not understood: {error}") from None


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that is called in the end: of a partial, or of an object with `__call__`."""
    while isinstance(function, partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def _form(function: Callable[..., Any]) -> Form:
    called = _called(function)
    if inspect.isasyncgenfunction(called):
        return Form.GENERATOR
    if inspect.iscoroutinefunction(called):
        return Form.COROUTINE
    return Form.BLOCKING_GENERATOR if inspect.isgeneratorfunction(called) else Form.BLOCKING
