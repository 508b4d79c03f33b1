"""Waiting so that Ctrl-C arrives: in slices, between which Python looks for signals."""

from __future__ import annotations

import time
from typing import Callable, Optional, TypeVar

T = TypeVar("T")

SLICE_MS = 100


def in_slices(take: Callable[[int], list[T]], timeout: Optional[float], is_virtual: bool) -> list[T]:
    """Takes what comes within so many seconds, or ever. In virtual time waiting takes none."""
    if is_virtual:
        return take(0)
    until = None if timeout is None else time.monotonic() + timeout
    while True:
        left = SLICE_MS if until is None else max(0, round((until - time.monotonic()) * 1000))
        taken = take(min(left, SLICE_MS))
        if taken or left == 0:
            return taken
