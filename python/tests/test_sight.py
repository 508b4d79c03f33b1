"""Who sees how much: visibility, last seen, directed presence; and queries between sessions."""

from __future__ import annotations

import asyncio

import pytest

import rosterkit
import rosterkit.aio
from conftest import ALICE, BOB, CAROL
from rosterkit import commands


def friends(world: rosterkit.Engine) -> tuple[rosterkit.Session, rosterkit.Session]:
    alice, bob = world.open_session(ALICE), world.open_session(BOB, instance="desk")
    alice.add_buddy(BOB)
    bob.confirm_buddy(ALICE)
    for session in (alice, bob):
        session.set_presence("online")
        told(session)
    return alice, bob


def told(session: rosterkit.Session) -> list[rosterkit.Event]:
    return list(session.events(timeout=0))


def test_how_much_is_seen(world: rosterkit.Engine) -> None:
    alice, bob = friends(world)
    alice.set_presence("busy", note="in a call", extensions=b"\x01")
    assert bob.presence(ALICE) == rosterkit.Presence(rosterkit.PresenceState.BUSY, "in a call", None, b"\x01")
    alice.set_visibility(BOB, "state-only")
    assert bob.presence(ALICE) == rosterkit.Presence(rosterkit.PresenceState.BUSY)
    alice.set_visibility(BOB, rosterkit.Visibility.HIDDEN)
    assert bob.presence(ALICE).state == "offline"
    with pytest.raises(rosterkit.NotFound):
        alice.set_visibility(CAROL, "full")


def test_when_somebody_was_last_there(world: rosterkit.Engine) -> None:
    alice, bob = friends(world)
    assert alice.last_seen(BOB) == rosterkit.LastSeen(rosterkit.LastSeenWhen.ONLINE)
    bob.go_offline()
    assert alice.last_seen(BOB) == rosterkit.LastSeen(rosterkit.LastSeenWhen.RECENTLY)
    bob.set_preferences(rosterkit.PreferenceOverrides(last_seen=rosterkit.LastSeenPrecision.EXACT))
    assert rosterkit.PreferencesChanged in [type(event) for event in told(bob)]
    seen = alice.last_seen(BOB)
    assert seen is not None and seen.when == "at" and seen.time_ms == 1_700_000_000_000
    assert bob.preferences().last_seen == "exact"
    assert alice.last_seen(CAROL) is None


def test_presence_for_one(world: rosterkit.Engine) -> None:
    alice, carol = world.open_session(ALICE), world.open_session(CAROL)
    carol.set_presence("online")
    alice.direct_presence(CAROL, "chat", note="for you")
    [event] = [e for e in told(carol) if isinstance(e, rosterkit.PresenceChanged) and e.subject == ALICE]
    assert (event.presence.state, event.presence.note) == ("chat", "for you")
    with pytest.raises(rosterkit.InvalidArgument):
        alice.direct_presence(CAROL, None, note="gone")
    alice.direct_presence(CAROL, None)
    [event] = [e for e in told(carol) if isinstance(e, rosterkit.PresenceChanged)]
    assert event.presence.state == "offline"
    carol.block(ALICE)
    assert rosterkit.BlockListChanged in [type(event) for event in told(carol)]


def test_a_question_and_its_answer(world: rosterkit.Engine) -> None:
    alice, bob = friends(world)
    number = alice.query(BOB + "/desk", rosterkit.Data("application/json", b"{}"))
    [asked] = [e for e in told(bob) if isinstance(e, rosterkit.QueryAsked)]
    assert asked.body == rosterkit.Data("application/json", b"{}") and asked.sender.startswith(ALICE + "/")
    bob.answer_query(asked.query, "me")
    [answer] = [e for e in told(alice) if isinstance(e, rosterkit.QueryAnswered)]
    assert (answer.query, answer.body) == (number, "me")
    number = alice.query(BOB + "/elsewhere", "who?")
    [answer] = [e for e in told(alice) if isinstance(e, rosterkit.QueryAnswered)]
    assert (answer.query, answer.body) == (number, None)


def test_as_commands(world: rosterkit.Engine) -> None:
    alice, bob = friends(world)
    for command, wanted in [
        (commands.set_visibility(bob, ALICE, "full"), None),
        (commands.read_last_seen(alice, BOB), rosterkit.LastSeen(rosterkit.LastSeenWhen.ONLINE)),
        (commands.direct_presence(alice, CAROL, "busy"), None),
        (commands.direct_presence(alice, CAROL, None), None),
    ]:
        world.submit([command])
        assert [a.value() for a in world.next_answers(timeout=5)] == [wanted]
    world.submit([commands.query(alice, BOB + "/desk", "who?")])
    [number] = [a.value() for a in world.next_answers(timeout=5)]
    [asked] = [e for e in told(bob) if isinstance(e, rosterkit.QueryAsked)]
    world.submit([commands.answer_query(bob, asked.query)])
    assert [a.value() for a in world.next_answers(timeout=5)] == [None]
    [answer] = [e for e in told(alice) if isinstance(e, rosterkit.QueryAnswered)]
    assert (answer.query, answer.body) == (number, None)


def test_in_a_loop() -> None:
    async def main() -> None:
        async with rosterkit.aio.Engine.in_memory(["example.org"]) as engine:
            for address in (ALICE, BOB):
                await engine.create_account(address)
            alice, bob = await engine.open_session(ALICE), await engine.open_session(BOB)
            await alice.add_buddy(BOB)
            await bob.add_buddy(ALICE)
            await bob.set_visibility(ALICE, "hidden")
            assert await alice.last_seen(BOB) is None
            await alice.direct_presence(BOB, "chat")
            assert await alice.query(BOB + "/desk", "who?") > 0
            with pytest.raises(rosterkit.NotFound):
                await bob.answer_query(1)

    asyncio.run(main())


def test_an_observer_is_told_the_state(world: rosterkit.Engine) -> None:
    alice, bob = friends(world)
    observer = world.open_session(ALICE, observes=True)
    bob.send(ALICE, "hello")
    bob.set_presence("away")
    events = told(observer)
    assert rosterkit.SnapshotEnded in [type(event) for event in events]
    [roster] = [e for e in events if isinstance(e, rosterkit.RosterChanged)]
    assert roster.buddy.address == BOB
    newest = {e.subject: e.presence.state for e in events if isinstance(e, rosterkit.PresenceChanged)}
    assert newest[BOB] == "away"
    conversation = [e for e in events if isinstance(e, rosterkit.ConversationChanged)][-1].conversation
    assert (conversation.peer, conversation.latest.text, conversation.unread) == (BOB, "hello", 1)
    assert not [e for e in events if isinstance(e, rosterkit.MessageReceived)]
    assert [e.message.text for e in told(alice) if isinstance(e, rosterkit.MessageReceived)] == ["hello"]
