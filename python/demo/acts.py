"""The acts on one file, each a process of its own."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Optional

import rosterkit
from stage import PATIENCE, Failed, Person, expect, name, says, seen

DOMAIN = "rosterkit.example"


def opened(file: str) -> rosterkit.Engine:
    return rosterkit.Engine.open(file, domains=[DOMAIN])


def account(user: str) -> str:
    return f"{user}@{DOMAIN}"


def comes_in(file: str, export: str) -> None:
    """The export of a real server, in one transaction."""
    with opened(file) as engine:
        found = engine.import_xep0227(export)
        says("import", f"{found.accounts} accounts, {found.buddies} buddies, {found.messages} messages waiting: on disk")
        expect((found.accounts, found.messages) == (12, 40), "the export has 12 accounts and 40 messages")
        seen("import")
        groups = defaultdict(list)
        for buddy in engine.open_session(account("alice")).roster().buddies:
            confirmed = buddy.status == rosterkit.BuddyStatus.CONFIRMED
            shown = (buddy.name or buddy.address) + ("" if confirmed else f" ({buddy.status.value})")
            for group in buddy.groups or ("(no group)",):
                groups[group].append(shown)
        for group, members in sorted(groups.items()):
            says(group, ", ".join(members))
        expect((len(groups["Friends"]), len(groups["Familie"])) == (3, 1), "alice's groups are as exported")
        seen("roster by groups")


def conversation(file: str) -> None:
    """A buddy request confirmed, presence of two sessions as one, messages with copies, typing."""
    with opened(file) as engine:
        dave, laptop = (Person(engine, account("dave"), device) for device in ("phone", "laptop"))
        judy = Person(engine, account("judy"))
        says("dave", "adds judy, group “New”")
        dave.session.add_buddy(judy.address, name="Judy", groups=["New"])
        judy.hears("a buddy request", lambda e: e if isinstance(e, rosterkit.BuddyRequested) else None)
        seen("buddy request")
        judy.session.set_presence("online", note="new here")
        dave.session.set_presence("online")
        says("judy", "confirms")
        judy.session.confirm_buddy(dave.address)
        dave.sees(judy.address, "online")
        judy.sees(dave.address, "online")
        expect(dave.confirmed(judy.address) and judy.confirmed(dave.address), "both rosters say confirmed")
        seen("confirmed on both sides")
        laptop.session.set_presence("busy", note="in a call")
        judy.sees(dave.address, "busy")
        laptop.session.go_offline()
        judy.sees(dave.address, "online")
        seen("presence aggregated")
        dave.session.typing(judy.address)
        judy.hears("typing", lambda e: e if isinstance(e, rosterkit.TypingChanged) else None)
        seen("typing")
        text = "Hello Judy,\nhow are you?"
        receipt = dave.session.send(judy.address, text, client_id="demo-1")
        expect(judy.message().id == receipt.message_id, "judy got the message that dave's receipt names")
        seen("message delivered by callback")
        expect(laptop.message("a copy").id == receipt.message_id, "the laptop has a copy of it")
        seen("copy")
        again = dave.session.send(judy.address, text, client_id="demo-1")
        says("dave", f"repeats it with the same client_id: the same receipt, {again.outcome.value}")
        expect(again == receipt, "a repeat gets the first one's answer")
        seen("idempotent repeat")
        judy.session.send(dave.address, "Fine, thanks!")
        dave.message("the answer")


def killed(file: str) -> None:
    """A message is delivered to a listener, and the process dies before it returns."""
    with opened(file) as engine:

        def never_returns(events: Sequence[rosterkit.Event]) -> None:
            for event in events:
                if isinstance(event, rosterkit.MessageReceived):
                    says("frank", f"« {event.message.text} » from {name(event.message.sender)} …")
                    print(f"IN HAND {event.message.id}", flush=True)
                    threading.Event().wait()

        frank = engine.open_session(account("frank"), listener=never_returns)
        engine.send(account("alice"), frank.account, "Don't lose this one.")
        threading.Event().wait(60)
        raise Failed("nobody killed the host")


def again(file: str, id: str) -> None:
    """The next process: the message comes again, with the same id."""
    with opened(file) as engine:
        frank = Person(engine, account("frank"))
        message = frank.message("the message, again")
        expect(message.id == id, "it has the id it had")
        # The listener has heard it; that it has returned too is the engine's to say.
        until = time.monotonic() + PATIENCE
        while json.loads(frank.session.explain_delivery(message.position))["received"]["place"] != "claimed":
            expect(time.monotonic() < until, "returning acknowledges")
            time.sleep(0.01)
        seen("redelivered with its id")
    with opened(file) as engine:
        more = engine.open_session(account("frank")).next_events(timeout=0.2)
        expect(not more, "acknowledged by returning, it does not come a third time")


def offline(file: str) -> None:
    """Somebody who was away since the export: messages in order, with their times, and a page of history."""
    with opened(file) as engine:
        bob = Person(engine, account("bob"))
        messages = [bob.message(aloud=number < 4) for number in range(18)]
        says("bob", f"… {len(messages)} messages in all")
        texts = [message.text or "" for message in messages]
        expect(texts[0].startswith("message 1 ") and texts[1].startswith("line one of 2"), "they come as they were sent")
        positions, times = [m.position for m in messages], [m.time_ms for m in messages]
        expect(positions == sorted(positions), "they come in order")
        seen("offline messages in order")
        receipt = bob.session.send(account("alice"), "Just back, catching up.")
        expect(times == sorted(times) and times[-1] < receipt.time_ms, "each has the time at which it was sent")
        seen("original times")
        page = bob.session.history(account("alice"), limit=5)
        for message in page.messages:
            says("history", f"{name(message.sender)}: {message.text}")
        last: Optional[str] = page.messages[-1].id if page.messages else None
        expect(len(page.messages) == 5 and not page.complete and last == receipt.message_id, "the latest five, and more before")
        seen("history")
