"""Waiting so that Ctrl-C arrives: in slices, between which Python looks for signals."""

from __future__ import annotations

import time
from typing import Callable, Optional, TypeVar

T = TypeVar("T")

SLICE_MS = 100


class Interrupts:
    """How often somebody asked that waits end: as in the library, whose wait is only a slice of one of ours.

    An interrupt ends every wait that has begun, and when there is none, the next one. There is no lock, so that a signal
    handler may interrupt: two at once may count as one.
    """

    def __init__(self) -> None:
        self._raised = 0
        self._noticed = 0

    def rise(self) -> None:
        """Ends waits."""
        self._raised += 1

    def begin(self) -> int:
        """A wait begins: what to ask `end` with."""
        return self._noticed

    def end(self, begun: int) -> bool:
        """Whether the wait that began so is to end."""
        raised = self._raised
        if raised == begun:
            return False
        self._noticed = raised
        return True


def in_slices(
    take: Callable[[int], list[T]], timeout: Optional[float], is_virtual: bool, interrupts: Interrupts
) -> list[T]:
    """Takes what comes within so many seconds, or ever. In virtual time waiting takes none."""
    if is_virtual:
        return take(0)
    begun = interrupts.begin()
    until = None if timeout is None else time.monotonic() + timeout
    while True:
        left = SLICE_MS if until is None else max(0, round((until - time.monotonic()) * 1000))
        taken = take(min(left, SLICE_MS))
        if taken or left == 0 or interrupts.end(begun):
            return taken
