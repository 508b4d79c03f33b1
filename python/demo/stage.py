"""What the acts have in common: people with listeners, and a transcript that reads like a chat."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Callable, Optional, TypeVar

import rosterkit

T = TypeVar("T")

#: How long anybody waits for what is to come, in seconds.
PATIENCE = 20.0


class Failed(Exception):
    """Something that was to be shown was not."""


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(f"it does not hold that {what}")


def seen(what: str) -> None:
    """Tells the director that something was seen."""
    print(f"SEEN {what}", flush=True)


def note(text: str) -> None:
    print(f"  · {text}", flush=True)


def says(who: str, what: str) -> None:
    print(f"  {who:>14}  " + what.replace("\n", "\n" + " " * 18), flush=True)


def name(address: str) -> str:
    return address.split("@")[0]


class Person:
    """Somebody at a device: a session whose events a callback hands over."""

    def __init__(self, engine: rosterkit.Engine, address: str, device: Optional[str] = None) -> None:
        self.name = name(address) if device is None else f"{name(address)}/{device}"
        self.address = address
        self._heard: queue.Queue[rosterkit.Event] = queue.Queue()
        self.session = engine.open_session(address, device=device, listener=self._listen)

    def _listen(self, events: Sequence[rosterkit.Event]) -> None:
        for event in events:
            self._heard.put(event)
        # Returning acknowledges; what raises comes again.

    def hears(self, what: str, of: Callable[[rosterkit.Event], Optional[T]], aloud: bool = True) -> T:
        """Waits for an event that this makes something of; others pass."""
        while True:
            try:
                event = self._heard.get(timeout=PATIENCE)
            except queue.Empty:
                raise Failed(f"{self.name} did not hear {what}") from None
            found = of(event)
            if found is not None:
                if aloud:
                    says(self.name, described(event))
                return found

    def message(self, what: str = "a message", aloud: bool = True) -> rosterkit.Message:
        return self.hears(what, lambda e: e.message if isinstance(e, rosterkit.MessageReceived) else None, aloud)

    def sees(self, buddy: str, state: str) -> None:
        wanted = rosterkit.PresenceState(state)

        def shown(event: rosterkit.Event) -> Optional[bool]:
            if isinstance(event, rosterkit.PresenceChanged) and event.subject == buddy:
                return True if event.presence.state == wanted else None
            return None

        self.hears(f"that {name(buddy)} is {state}", shown)

    def is_told(self, many: int) -> None:
        """Waits for the outcome of so many messages: all of them were relayed."""
        for _ in range(many):
            outcome = self.hears("an outcome", lambda e: e.outcome if isinstance(e, rosterkit.OutcomeTold) else None, False)
            expect(outcome == rosterkit.Relayed(), "every message was relayed")
        says(self.name, f"is told of {many} messages: relayed")

    def confirmed(self, peer: str) -> bool:
        buddies = self.session.roster().buddies
        return any(b.address == peer and b.status == rosterkit.BuddyStatus.CONFIRMED for b in buddies)


def described(event: rosterkit.Event) -> str:
    if isinstance(event, rosterkit.MessageReceived):
        sort = "a copy of" if event.message.is_copy else "hears"
        return f"{sort} « {event.message.text} » from {name(event.message.sender)}"
    if isinstance(event, rosterkit.PresenceChanged):
        note = f" “{event.presence.note}”" if event.presence.note else ""
        return f"sees {name(event.subject)} {event.presence.state.value}{note}"
    if isinstance(event, rosterkit.BuddyRequested):
        return f"{name(event.sender)} asks to be a buddy"
    if isinstance(event, rosterkit.MessagesDelivered):
        return f"is told: {name(event.peer)}'s client has taken it"
    if isinstance(event, rosterkit.MessagesDisplayed):
        return f"is told: {name(event.peer)} has read it"
    if isinstance(event, rosterkit.TypingChanged):
        return f"{name(event.sender)} is {event.state.value}"
    if isinstance(event, rosterkit.OutcomeTold):
        word = event.outcome.reason if isinstance(event.outcome, rosterkit.Failed) else type(event.outcome).__name__.lower()
        return f"is told: to {name(event.recipient)}, {word}"
    return type(event).__name__
