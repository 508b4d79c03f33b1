"""Receipts, conversations, and what an author does to a message later."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import rosterkit
import rosterkit.aio
from conftest import ALICE, BOB, CAROL, texts
from rosterkit import commands

START_MS = 1_700_000_000_000


def told(session: rosterkit.Session) -> list[rosterkit.Event]:
    return list(session.events(timeout=0))


def buddies(world: rosterkit.Engine) -> tuple[rosterkit.Session, rosterkit.Session]:
    alice, bob = world.open_session(ALICE), world.open_session(BOB)
    alice.add_buddy(BOB)
    bob.confirm_buddy(ALICE)
    alice.set_presence("online")
    bob.set_presence("online")
    told(alice), told(bob)
    return alice, bob


def test_receipts(world: rosterkit.Engine) -> None:
    alice, bob = buddies(world)
    sent = alice.send(BOB, "hello")
    assert alice.history().messages[0].receipt is None
    told(bob)
    assert told(alice) == [rosterkit.MessagesDelivered(0, BOB, sent.position)]
    bob.mark_read(ALICE, sent.position)
    assert told(alice) == [rosterkit.MessagesDisplayed(0, BOB, sent.position)]
    world.advance(2)
    assert alice.history().messages[0].receipt is rosterkit.ReceiptState.DISPLAYED
    bob.set_preferences(rosterkit.PreferenceOverrides(receipts=rosterkit.Receipts.NOTHING))
    assert bob.preferences().receipts == "nothing"
    alice.send(BOB, "again")
    told(bob)
    assert told(alice) == []


def test_conversations(world: rosterkit.Engine) -> None:
    alice, phone = world.open_session(ALICE), world.open_session(ALICE)
    first = world.send(BOB, ALICE, "one")
    world.send(BOB, ALICE, "two")
    world.send(CAROL, ALICE, "and me")
    page = alice.conversations(limit=1)
    assert [(c.peer, c.latest.text, c.unread) for c in page.conversations] == [(CAROL, "and me", 1)]
    assert not page.complete
    rest = alice.conversations(page.conversations[0].position)
    assert [(c.peer, c.latest.text, c.unread) for c in rest.conversations] == [(BOB, "two", 2)] and rest.complete
    told(phone)
    alice.mark_read(BOB, first.position)
    assert told(phone) == [rosterkit.MessagesRead(0, BOB, first.position)]
    [carol, bob] = alice.conversations().conversations
    assert (bob.unread, bob.read, bob.delivered) == (1, first.position, 0)
    with pytest.raises(rosterkit.NotFound):
        alice.mark_read("nobody@example.org", 1)


def test_edit_retract_and_reply(world: rosterkit.Engine) -> None:
    alice, bob = world.open_session(ALICE), world.open_session(BOB)
    sent = alice.send(BOB, "helo")
    bob.send(ALICE, "what?", reply_to=sent.message_id)
    told(bob)
    edited = alice.edit_message(BOB, sent.message_id, "hello", client_id="e1")
    assert alice.edit_message(BOB, sent.message_id, "hello", client_id="e1") == edited
    alice.retract_message(BOB, sent.message_id)
    edit, retraction = told(bob)
    assert isinstance(edit, rosterkit.MessageAmended) and isinstance(retraction, rosterkit.MessageAmended)
    assert (edit.message_id, edit.body, retraction.body) == (sent.message_id, "hello", None)
    retracted, reply = bob.history().messages
    assert retracted.text == "" and retracted.amended is not None and retracted.amended.is_retracted
    assert reply.reply_to == sent.message_id
    with pytest.raises(rosterkit.Conflict):
        alice.edit_message(BOB, sent.message_id, "back again")
    with pytest.raises(rosterkit.InvalidArgument):
        alice.edit_message(BOB, "no id", "x")


def test_expiry(world: rosterkit.Engine) -> None:
    alice = world.open_session(ALICE)
    now = alice.send(ALICE, "what is the time?").time_ms
    sent = alice.send(BOB, "lunch?", expires_ms=now + 60_000)
    world.advance(61)
    assert rosterkit.OutcomeTold(0, sent.position, sent.message_id, BOB, rosterkit.Expired()) in told(alice)
    assert texts(told(world.open_session(BOB))) == []
    assert alice.history(BOB).messages[0].outcome == rosterkit.Expired()
    with pytest.raises(rosterkit.InvalidArgument):
        alice.send(BOB, "too late", expires_ms=now)


def test_as_commands(engine: rosterkit.Engine) -> None:
    alice, bob = engine.open_session(ALICE), engine.open_session(BOB)
    sent = alice.send(BOB, "helo")
    submitted = [
        commands.edit_message(alice, BOB, sent.message_id, "hello"),
        commands.retract_message(alice, BOB, sent.message_id),
        commands.mark_read(bob, ALICE, sent.position),
        commands.read_conversations(bob),
    ]
    tickets = engine.submit(submitted)
    answers: dict[int, Any] = {}
    while len(answers) < len(tickets):
        answers.update({a.ticket: a.value() for a in engine.next_answers(timeout=5)})
    edited, retracted, marked, page = (answers[ticket] for ticket in tickets)
    assert edited.position < retracted.position and marked is None
    assert [c.peer for c in page.conversations] == [ALICE]


def test_in_asyncio() -> None:
    async def main() -> None:
        async with rosterkit.aio.Engine.in_memory(["example.org"]) as engine:
            await asyncio.gather(engine.create_account(ALICE), engine.create_account(BOB))
            alice, bob = await engine.open_session(ALICE), await engine.open_session(BOB)
            sent = await alice.send(BOB, "helo", expires_ms=START_MS * 2)
            await alice.edit_message(BOB, sent.message_id, "hello")
            await bob.mark_read(ALICE, sent.position)
            [conversation] = (await bob.conversations()).conversations
            assert (conversation.latest.text, conversation.unread) == ("hello", 0)
            await alice.retract_message(BOB, sent.message_id)

    asyncio.run(main())


def test_a_text_is_found(world: rosterkit.Engine) -> None:
    alice = world.open_session(ALICE)
    sent = [world.send(BOB, ALICE, f"Lunch at {n}?") for n in range(3)]
    world.send(CAROL, ALICE, "no lunch today")
    found = alice.search_history("LUNCH", BOB)
    assert [m.position for m in found.messages] == [s.position for s in reversed(sent)]
    assert found.searched is None
    first = alice.search_history("lunch", limit=1)
    world.submit([commands.search_history(alice, "lunch", before=first.searched)])
    [answer] = world.next_answers(timeout=5)
    assert [m.text for m in answer.value().messages] == ["Lunch at 2?", "Lunch at 1?", "Lunch at 0?"]
    with pytest.raises(rosterkit.InvalidArgument):
        alice.search_history("")


def test_what_is_forgotten_and_what_is_kept(world: rosterkit.Engine) -> None:
    alice = world.open_session(ALICE)
    for number in range(3):
        world.send(BOB, ALICE, str(number))
        world.send(CAROL, ALICE, str(number))
    alice.forget_history(BOB)
    assert {m.sender for m in alice.history().messages} == {CAROL}
    [forgotten] = [e for e in alice.events(timeout=0) if isinstance(e, rosterkit.HistoryForgotten)]
    assert forgotten.peer == BOB
    world.submit([commands.forget_history(alice)])
    assert [a.value() for a in world.next_answers(timeout=5)] == [None]
    assert alice.history().messages == ()
    alice.set_preferences(rosterkit.PreferenceOverrides(history_days=30, history_messages=1_000))
    assert (alice.preferences().history_days, alice.preferences().history_messages) == (30, 1_000)
