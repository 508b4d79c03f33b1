"""Listeners: what the library calls, and what it calls in turn."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Callable, Protocol, Union

from . import _convert
from ._native import native
from .model import Event

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


class Adapter(native.SessionListener):  # type: ignore[misc]
    """A listener as the library calls it."""

    def __init__(self, listener: AnyListener) -> None:
        on_events: Any = getattr(listener, "on_events", None)
        self._on_events: Any = listener if on_events is None else on_events

    def on_events(self, batch: Any) -> None:
        try:
            self._on_events([_convert.event(event) for event in batch.events])
        except BaseException as error:
            # Also what is no Exception: on a thread of the engine's there is nobody above to end.
            _log.exception("a listener failed")
            raise native.CallbackError.Failed(details=type(error).__name__) from None
