"""The generated module. It is not among the sources and has no types that a checker reads, so everything of it is `Any`."""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any, Callable

from .errors import Closed, InvalidArgument, translated

native: Any = importlib.import_module("._generated.rosterkit", __package__)

_FAILURES = (native.RosterKitError, native.InternalError)


class Owner:
    """Something whose calls go to the library, in the process that opened it."""

    def __init__(self) -> None:
        self._process = os.getpid()

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self._not_in_a_fork()
        return call(function, *arguments)

    def _not_in_a_fork(self) -> None:
        # In a fork nothing may be touched that the parent's threads held a lock on at that moment.
        if self._process != os.getpid():
            raise Closed(
                "this process is a fork of the one that opened the engine: open one in a process that is spawned, or was "
                "forked before"
            )


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls the library, and raises its failures as this package's."""
    try:
        return function(*arguments)
    except _FAILURES as error:
        raise translated(error) from None
    except ValueError as error:
        # The generated code's: a number that is too large, a text with half a character.
        raise InvalidArgument(str(error)) from None


def _in_child() -> None:
    # A thread of the parent's may have held these, and no thread of the child's will ever give them back.
    for converter in vars(native).values():
        handles = getattr(converter, "_handle_map", None)
        if handles is not None:
            handles._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
