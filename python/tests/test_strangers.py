"""Strangers: what waits in quarantine, and what becomes of it."""

from __future__ import annotations

import asyncio

import pytest

import rosterkit
import rosterkit.aio
from conftest import ALICE, BOB, CAROL, texts
from rosterkit import commands

CAREFUL = rosterkit.PreferenceOverrides(accepted_senders=rosterkit.AcceptedSenders.QUARANTINE)


def told(session: rosterkit.Session) -> list[rosterkit.Event]:
    return list(session.events(timeout=0))


def test_strangers_wait_until_they_are_admitted(world: rosterkit.Engine) -> None:
    alice = world.open_session(ALICE)
    alice.set_preferences(CAREFUL)
    assert alice.preferences().accepted_senders == "quarantine"
    assert world.send(BOB, ALICE, "psst").outcome == "Stored"
    world.send(CAROL, ALICE, "buy this")
    assert told(alice)[-1] == rosterkit.QuarantineChanged(0, 2)
    page = alice.quarantined()
    assert [m.text for m in page.messages] == ["psst", "buy this"] and page.complete
    assert [m.text for m in alice.quarantined(page.messages[0].position, limit=1).messages] == ["buy this"]
    alice.admit_sender(BOB)
    alice.refuse_sender(CAROL, block=True)
    assert texts(told(alice)) == ["psst"] and alice.quarantined().messages == ()
    with pytest.raises(rosterkit.Forbidden):
        world.send(CAROL, ALICE, "buy this")
    with pytest.raises(rosterkit.InvalidArgument):
        alice.admit_sender("example.org")


def test_as_commands(world: rosterkit.Engine) -> None:
    alice = world.open_session(ALICE)
    alice.set_preferences(CAREFUL)
    world.send(BOB, ALICE, "psst")
    for command, waiting in [
        (commands.refuse_sender(alice, CAROL), ["psst"]),
        (commands.admit_sender(alice, BOB), []),
    ]:
        world.submit([command])
        assert [a.value() for a in world.next_answers(timeout=5)] == [None]
        world.submit([commands.read_quarantined(alice, limit=1)])
        [page] = [a.value() for a in world.next_answers(timeout=5)]
        assert [m.text for m in page.messages] == waiting


def test_in_a_loop() -> None:
    async def main() -> None:
        async with rosterkit.aio.Engine.in_memory(["example.org"]) as engine:
            for address in (ALICE, BOB):
                await engine.create_account(address)
            alice, bob = await engine.open_session(ALICE), await engine.open_session(BOB)
            await alice.set_preferences(CAREFUL)
            await bob.send(ALICE, "psst")
            assert [m.text for m in (await alice.quarantined()).messages] == ["psst"]
            await alice.refuse_sender(CAROL)
            await alice.admit_sender(BOB)
            assert (await alice.quarantined()).messages == ()

    asyncio.run(main())
