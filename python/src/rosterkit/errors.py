"""What a call raises when it does not do what it was asked: one of ten kinds, and a text that says what to do."""

from __future__ import annotations

from typing import Any, Optional


class RosterKitError(Exception):
    """Why a call did not do what it was asked. Its class is the kind, which is stable; `details` is for people."""

    def __init__(self, details: str) -> None:
        super().__init__(details)
        self.details = details


class InvalidArgument(RosterKitError):
    """What was asked is malformed."""


class NotFound(RosterKitError):
    """There is no such domain, account, buddy, session or device."""


class Forbidden(RosterKitError):
    """The recipient, or the rules, do not allow it. It is never said why."""


class LimitExceeded(RosterKitError):
    """A limit is reached. `retry_after` has the seconds after which a repeat may pass, when waiting helps."""

    def __init__(self, details: str, retry_after: Optional[float] = None) -> None:
        super().__init__(details)
        self.retry_after = retry_after


class Conflict(RosterKitError):
    """It contradicts something that is already so."""


class Unreachable(RosterKitError):
    """The address is outside and no relay serves its domain."""


class Storage(RosterKitError):
    """The disk failed, or the file is none that this version can use.

    With `outcome_unknown` nobody knows whether the operation is on disk: repeat it with the same `client_id`.
    """

    def __init__(self, details: str, outcome_unknown: bool = False) -> None:
        super().__init__(details)
        self.outcome_unknown = outcome_unknown


class Damaged(RosterKitError):
    """The file is damaged: what is whole stays readable; run `rosterkit check`."""


class Closed(RosterKitError):
    """The engine or the session is shut down, or this process is a fork of the one that opened it."""


class Misuse(RosterKitError):
    """The call is not allowed in this place, for instance waiting for shutdown inside a listener."""


class Internal(RosterKitError):
    """A defect of the library. The engine takes no more work."""


_PLAIN: dict[str, type[RosterKitError]] = {
    kind.__name__: kind
    for kind in (InvalidArgument, NotFound, Forbidden, Conflict, Unreachable, Damaged, Closed, Misuse, Internal)
}


def translated(error: Any) -> RosterKitError:
    """The error of this package for one of the library's."""
    kind = type(error).__name__
    details = str(getattr(error, "details", error))
    if kind == "LimitExceeded":
        millis = error.retry_after_ms
        return LimitExceeded(details, None if millis is None else millis / 1000)
    if kind == "Storage":
        return Storage(details, error.outcome_unknown)
    # What else the generated code raises is a defect as well.
    return _PLAIN.get(kind, Internal)(details)
