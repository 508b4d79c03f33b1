"""Invitations: who brings the token is let in."""

from __future__ import annotations

import asyncio
import time
from typing import Optional

import pytest

import rosterkit
import rosterkit.aio
from conftest import ALICE, BOB, CAROL
from rosterkit import commands


def in_an_hour(world: Optional[rosterkit.Engine] = None) -> int:
    now = int(time.time() * 1_000) if world is None else world.send(BOB, BOB, "what time is it?").time_ms
    return now + 3_600_000


def status(session: rosterkit.Session, peer: str) -> str:
    [buddy] = [one for one in session.roster().buddies if one.address == peer]
    return str(buddy.status.value)


def test_who_brings_the_token_is_let_in(world: rosterkit.Engine) -> None:
    alice, bob = world.open_session(ALICE), world.open_session(BOB)
    token = alice.invite(in_an_hour(world))
    bob.redeem_invitation(ALICE, token)
    world.advance(1)
    assert status(bob, ALICE) == status(alice, BOB) == "confirmed"
    alice.revoke_invitations(alice.invite(in_an_hour(world)))
    alice.revoke_invitations()
    with pytest.raises(rosterkit.InvalidArgument):
        alice.invite(1)
    with pytest.raises(rosterkit.InvalidArgument):
        bob.redeem_invitation(ALICE, "short")


def test_as_commands(world: rosterkit.Engine) -> None:
    alice, carol = world.open_session(ALICE), world.open_session(CAROL)
    world.submit([commands.invite(alice, in_an_hour(world))])
    [token] = [a.value() for a in world.next_answers(timeout=5)]
    world.submit([commands.redeem_invitation(carol, ALICE, token), commands.revoke_invitations(carol)])
    answers: list[object] = []
    while len(answers) < 2:
        answers += [a.value() for a in world.next_answers(timeout=5)]
    assert answers == [None, None]
    world.advance(1)
    assert status(alice, CAROL) == "confirmed"


def test_in_a_loop() -> None:
    async def confirmed(session: rosterkit.aio.Session) -> None:
        while (await session.roster()).buddies[0].status != "confirmed":
            await asyncio.sleep(0.01)

    async def main() -> None:
        async with rosterkit.aio.Engine.in_memory(["example.org"]) as engine:
            for address in (ALICE, BOB):
                await engine.create_account(address)
            alice, bob = await engine.open_session(ALICE), await engine.open_session(BOB)
            await bob.redeem_invitation(ALICE, await alice.invite(in_an_hour()))
            await alice.revoke_invitations()
            await asyncio.wait_for(confirmed(bob), 5)

    asyncio.run(main())
