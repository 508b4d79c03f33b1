"""Listeners: what the library calls, and what it calls in turn."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Callable, Optional, Protocol, Union

from . import _convert
from ._native import native
from .model import Event, ImportSummary

_log = logging.getLogger("rosterkit")


class Listener(Protocol):
    """An object that is called with a session's events, on a thread of the engine's, one batch at a time.

    Returning acknowledges the batch. When it raises, the events come again one by one, with the same ids, and a message
    that fails three times is parked. It may call anything, and may drop or shut down the engine without waiting.
    """

    def on_events(self, events: Sequence[Event]) -> None:
        """Takes a batch."""


#: A listener is an object with `on_events`, or a function.
AnyListener = Union[Listener, Callable[[Sequence[Event]], None]]


def hears(listener: AnyListener) -> Callable[[Sequence[Event]], None]:
    """What to call with events."""
    on_events: Callable[[Sequence[Event]], None] = getattr(listener, "on_events", None) or listener  # type: ignore[assignment]
    return on_events


def log_failure() -> None:
    """A listener raised, and its events come again."""
    _log.exception("a listener failed")


class Adapter(native.SessionListener):  # type: ignore[misc]
    """A listener as the library calls it."""

    def __init__(self, listener: AnyListener) -> None:
        self._hears = hears(listener)

    def on_events(self, batch: Any) -> None:
        try:
            self._hears(_convert.events(batch.events))
        except BaseException as error:
            # Also what is no Exception: on a thread of the engine's there is nobody above to end.
            log_failure()
            raise native.CallbackError.Failed(details=type(error).__name__) from None


class Progress(native.ImportListener):  # type: ignore[misc]
    """Who is told how far an import has come. What it raises calls the import off."""

    def __init__(self, listener: Optional[Callable[[ImportSummary], None]]) -> None:
        self._listener = listener
        self.raised: Optional[BaseException] = None

    def on_progress(self, progress: Any) -> None:
        # Without a listener it is where Ctrl-C arrives.
        try:
            if self._listener is not None:
                self._listener(_convert.import_summary(progress))
        except BaseException as error:
            self.raised = error
            raise native.CallbackError.Failed(details=type(error).__name__) from None
