"""Relays and peer links: two engines that are peers of each other."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Union

import pytest

import rosterkit
from conftest import eventually, texts

ALICE, BOB = "alice@example.org", "bob@example.net"


def drain(session: rosterkit.Session) -> list[rosterkit.Event]:
    events = []
    while batch := session.next_events(timeout=0):
        events += batch
        session.ack(batch[-1].seq)
    return events


def carry(sender: rosterkit.Relay, recipient: rosterkit.Relay) -> None:
    """What a transport of the host's does."""
    for one in sender.next_outgoing(timeout=0):
        if isinstance(one, rosterkit.Parcel):
            for delivery, settlement in zip(one.delivery_ids, recipient.receive(one)):
                assert delivery is not None
                sender.settle(delivery, settlement)
        else:
            recipient.receive_notice(one)


class Two:
    """Two engines in virtual time, each with a relay to the other."""

    def __init__(self) -> None:
        self.here = rosterkit.Engine.virtual(["example.org"])
        self.there = rosterkit.Engine.virtual(["example.net"])
        self.here.create_account(ALICE)
        self.there.create_account(BOB)
        self.out = self.here.open_relay(["example.net"])
        self.back = self.there.open_relay(["example.org"])
        self.out.connect()
        self.back.connect()
        self.alice = self.here.open_session(ALICE)
        self.bob = self.there.open_session(BOB)

    def settle_down(self) -> None:
        for _ in range(6):
            carry(self.out, self.back)
            carry(self.back, self.out)


def told(events: list[rosterkit.Event]) -> list[rosterkit.FinalOutcome]:
    return [event.outcome for event in events if isinstance(event, rosterkit.OutcomeTold)]


def test_a_message_is_queued_relayed_and_told() -> None:
    two = Two()
    receipt = two.alice.send(BOB, "hello")
    assert receipt.outcome == rosterkit.Outcome.QUEUED
    two.settle_down()
    (message,) = [e.message for e in drain(two.bob) if isinstance(e, rosterkit.MessageReceived)]
    assert (message.id, message.text, message.outcome) == (receipt.message_id, "hello", None)
    assert told(drain(two.alice)) == [rosterkit.Relayed()]
    assert two.alice.history().messages[0].outcome == rosterkit.Relayed()


def test_what_fails_says_why() -> None:
    two = Two()
    two.alice.send("nobody@example.net", "hello")
    two.settle_down()
    (failed,) = told(drain(two.alice))
    assert isinstance(failed, rosterkit.Failed) and "no account" in failed.reason
    with pytest.raises(rosterkit.Unreachable):
        two.alice.send("x@elsewhere.example", "hello")
    two.alice.send(BOB, "too late")
    two.here.advance(25 * 60 * 60)
    (failed,) = told(drain(two.alice))
    assert isinstance(failed, rosterkit.Failed) and "24 hours" in failed.reason


def test_handshake_presence_and_typing() -> None:
    two = Two()
    two.alice.set_presence("online")
    two.bob.set_presence("on-phone", note="back at four")
    two.alice.add_buddy(BOB, name="Bob")
    two.settle_down()
    assert any(isinstance(e, rosterkit.BuddyRequested) and e.sender == ALICE for e in drain(two.bob))
    two.bob.confirm_buddy(ALICE)
    two.settle_down()
    shown = two.alice.presence(BOB)
    assert (shown.state, shown.note) == (rosterkit.PresenceState.ON_PHONE, "back at four")
    two.bob.typing(ALICE)
    two.settle_down()
    assert any(isinstance(e, rosterkit.TypingChanged) and e.sender == BOB for e in drain(two.alice))


def test_what_comes_in_by_hand() -> None:
    two = Two()
    message = rosterkit.RelayedMessage("hello", delivery_id="mail-1", time_ms=5, extensions=b"x")
    parcel = rosterkit.Parcel(ALICE, BOB, (message,))
    assert two.back.receive(parcel) == two.back.receive(parcel) == [rosterkit.Relayed()]
    (there,) = [e.message for e in drain(two.bob) if isinstance(e, rosterkit.MessageReceived)]
    assert (there.sender, there.time_ms, there.extensions) == (ALICE, 5, b"x")
    with pytest.raises(rosterkit.Forbidden):
        two.back.receive(rosterkit.Parcel("eve@elsewhere.example", BOB, (message,)))
    with pytest.raises(rosterkit.InvalidArgument):
        two.back.receive(rosterkit.Parcel(ALICE, BOB, ()))
    with pytest.raises(rosterkit.InvalidArgument):
        two.out.settle("not ours")
    step = rosterkit.Handshake(rosterkit.HandshakeStep.ADD, stamp=2, note="let me in")
    assert two.back.receive(rosterkit.Parcel(ALICE, BOB, step)) == [rosterkit.Relayed()]
    older = rosterkit.Handshake(rosterkit.HandshakeStep.REMOVE, stamp=1)
    assert two.back.receive(rosterkit.Parcel(ALICE, BOB, older)) == [rosterkit.Superseded(2)]


def test_an_interrupt_ends_a_wait(tmp_path: Path) -> None:
    with rosterkit.Engine.open(tmp_path / "im.db", domains=["example.org"]) as engine:
        relay = engine.open_relay()
        relay.connect()
        waits = threading.Thread(target=relay.next_outgoing)
        waits.start()
        relay.interrupt()
        waits.join(10)
        assert not waits.is_alive()


def test_a_peer_link_over_a_socket_that_breaks(tmp_path: Path) -> None:
    here = rosterkit.Engine.open(tmp_path / "here.db", domains=["example.org"])
    there = rosterkit.Engine.open(tmp_path / "there.db", domains=["example.net"])
    with here, there:
        here.create_account(ALICE)
        there.create_account(BOB)
        links = here.open_peer_link(["example.net"]), there.open_peer_link(["example.org"])
        alice, bob = here.open_session(ALICE), there.open_session(BOB)
        heard: list[object] = []
        for round in range(3):
            pipes = socket.socketpair()
            carriers = [threading.Thread(target=link.carry, args=(pipe,)) for link, pipe in zip(links, pipes)]
            for carrier in carriers:
                carrier.start()
            eventually(lambda: all(link.state.is_connected for link in links))
            for number in range(50):
                alice.send(BOB, f"{round} {number}")
            eventually(lambda: (heard.extend(texts(drain(bob))) or len(heard) >= 50 * round + 10))  # type: ignore[func-returns-value]
            # In the middle of it.
            links[round % 2].disconnect()
            for carrier in carriers:
                carrier.join(10)
                assert not carrier.is_alive()
        pipes = socket.socketpair()
        for link, pipe in zip(links, pipes):
            threading.Thread(target=link.carry, args=(pipe,), daemon=True).start()
        eventually(lambda: (heard.extend(texts(drain(bob))) or len(heard) >= 150))  # type: ignore[func-returns-value]
        assert heard == [f"{round} {number}" for round in range(3) for number in range(50)]
        assert links[0].state.peer_domains == ("example.net",)
        outcomes: list[object] = []
        eventually(lambda: (outcomes.extend(told(drain(alice))) or len(outcomes) >= 150))  # type: ignore[func-returns-value]
        for link in links:
            link.close()


def test_bytes_of_nobody_end_a_connection(engine: rosterkit.Engine) -> None:
    link = engine.open_peer_link(["example.net"])
    assert link.take() == b""
    with pytest.raises(rosterkit.Misuse):
        link.feed(b"x")
    ours, theirs = socket.socketpair()
    theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(rosterkit.InvalidArgument):
        link.carry(ours)
    theirs.close()
    assert not link.state.is_connected and link.state.last_error is not None
    with pytest.raises(rosterkit.Conflict):
        engine.open_peer_link(["example.org"])
