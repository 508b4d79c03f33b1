"""Two worlds: a second engine in another process, on another file, for another domain, joined by a peer link.

The link goes over a socket pair. Its ends are sent to the other process over a control socket, one after the other: a pipe
that breaks is replaced by another, and the link goes on where it was.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import rosterkit
from stage import PATIENCE, Failed, Person, expect, note, says, seen

HERE, THERE = "here.example", "there.example"
DAVE, ERIN = f"dave@{HERE}", f"erin@{THERE}"
MANY = 40


# ---- the other process ----------------------------------------------------------------------------------------------


def other_world(file: str, descriptor: str) -> None:
    """Hosts erin, who confirms who asks and answers who asks her something, until the control socket ends."""
    control = socket.socket(fileno=int(descriptor))
    with rosterkit.Engine.open(file, domains=[THERE]) as engine:
        try:
            engine.create_account(ERIN)
        except rosterkit.Conflict:
            pass  # An earlier process made it.
        link = engine.open_peer_link([HERE])

        started = threading.Event()

        def on_events(events: Sequence[rosterkit.Event]) -> None:
            started.wait()
            for event in events:
                if isinstance(event, rosterkit.BuddyRequested):
                    says("erin", "confirms")
                    erin.confirm_buddy(event.sender)
                elif isinstance(event, rosterkit.MessageReceived):
                    print(f"HEARD {event.message.id} {event.message.time_ms} {event.message.text}", flush=True)
                    if (event.message.text or "").endswith("?"):
                        erin.send(DAVE, "Fine, thanks, in another process.")

        erin = engine.open_session(ERIN, device="phone", listener=on_events)
        started.set()
        erin.set_presence("online", note=f"in process {os.getpid()}")
        while True:
            said, pipes, _, _ = socket.recv_fds(control, 1, 1)
            if not said:
                return
            link.carry(socket.socket(fileno=pipes[0]))


class Other:
    """The other process, as this one has it. It dies with this one's `close`."""

    def __init__(self, file: str) -> None:
        self._control, theirs = socket.socketpair()
        command = [sys.executable, str(Path(__file__).with_name("demo.py")), "other", file, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True)
        theirs.close()
        self.heard: dict[str, tuple[int, str]] = {}
        self._new = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("HEARD "):
                _, id, time, text = line.rstrip("\n").split(" ", 3)
                with self._new:
                    self.heard[id] = (int(time), text)
                    self._new.notify_all()
            else:
                print(line, end="", flush=True)

    def hears(self, count: int) -> list[tuple[int, str]]:
        """Waits until it has heard so many messages, none of them twice; what comes again has its id."""
        with self._new:
            if not self._new.wait_for(lambda: len(self.heard) >= count, PATIENCE):
                raise Failed(f"erin heard {len(self.heard)} messages, not {count}")
            return list(self.heard.values())

    def join(self, link: rosterkit.PeerLink) -> threading.Thread:
        """Gives both a new pipe, and carries this side's end of it."""
        ours, theirs = socket.socketpair()
        socket.send_fds(self._control, [b"."], [theirs.fileno()])
        theirs.close()
        carrier = threading.Thread(target=link.carry, args=(ours,), daemon=True)
        carrier.start()
        return carrier

    def kill(self) -> None:
        self._process.kill()
        self.close()

    def close(self) -> None:
        self._control.close()
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()


# ---- this one -------------------------------------------------------------------------------------------------------


def two_worlds(folder: str) -> None:
    there = str(Path(folder) / "there.db")
    other: Optional[Other] = Other(there)
    try:
        with rosterkit.Engine.open(Path(folder) / "here.db", domains=[HERE]) as engine:
            engine.create_account(DAVE)
            link = engine.open_peer_link([THERE])
            dave = Person(engine, DAVE)
            dave.session.set_presence("online")
            assert other is not None
            carrier = other.join(link)
            handshake(dave)
            there_and_back(dave, other)
            carrier = away(dave, other, link, carrier)
            killed, other = other, None
            other = dies(dave, killed, link, there)
            link.disconnect()
    finally:
        if other is not None:
            other.close()


def handshake(dave: Person) -> None:
    says("dave", f"adds {ERIN}")
    dave.session.add_buddy(ERIN, name="Erin")
    dave.sees(ERIN, "online")
    expect(dave.confirmed(ERIN), "erin confirmed")
    seen("handshake between two worlds")
    seen("presence between two worlds")


def there_and_back(dave: Person, other: Other) -> None:
    receipt = dave.session.send(ERIN, "How are you?")
    says("dave", f"asks how she is: {receipt.outcome.value}, on disk")
    expect(receipt.outcome == rosterkit.Outcome.QUEUED, "what goes to another domain is queued")
    other.hears(1)
    expect(receipt.message_id in other.heard, "it keeps its id on the way")
    # Her answer and the word of the relay come as they will.
    kinds = (rosterkit.MessageReceived, rosterkit.OutcomeTold)
    heard = [dave.hears("an answer and an outcome", lambda e: e if isinstance(e, kinds) else None) for _ in kinds]
    expect({type(event) for event in heard} == set(kinds), "dave heard both")
    seen("messages there and back")


def away(dave: Person, other: Other, link: rosterkit.PeerLink, carrier: threading.Thread) -> threading.Thread:
    link.disconnect()
    carrier.join()
    note("the pipe is gone; dave writes all the same")
    sent = [dave.session.send(ERIN, f"while you are away, {number}") for number in range(1, 4)]
    expect(all(receipt.outcome == rosterkit.Outcome.QUEUED for receipt in sent), "each is queued, on disk")
    note("another pipe")
    carrier = other.join(link)
    heard = other.hears(4)[1:]
    expect([text for _, text in heard] == [f"while you are away, {n}" for n in range(1, 4)], "they arrive in order")
    expect([time for time, _ in heard] == [receipt.time_ms for receipt in sent], "and with their times")
    dave.is_told(len(sent))
    seen("what waited arrives in order")
    return carrier


def dies(dave: Person, other: Other, link: rosterkit.PeerLink, there: str) -> Other:
    """The other process is killed while messages are under way, and another one goes on with its file."""

    def writes() -> None:
        for number in range(1, MANY + 1):
            dave.session.send(ERIN, f"number {number}")

    writer = threading.Thread(target=writes)
    writer.start()
    other.hears(4 + 5)
    other.kill()
    note(f"erin's process was killed with SIGKILL, with messages under way: she had heard {len(other.heard) - 4}")
    writer.join()
    again = Other(there)
    again.heard.update(other.heard)
    again.join(link)
    heard = [text for _, text in again.hears(4 + MANY)][4:]
    expect(heard == [f"number {number}" for number in range(1, MANY + 1)], f"all {MANY} were heard, in order, none twice")
    dave.is_told(MANY)
    expect(dave.session.presence(ERIN).state == rosterkit.PresenceState.ONLINE, "erin is online again")
    seen("nothing lost or doubled by a kill")
    return again
