"""Explanations: the facts that decided."""

from __future__ import annotations

import json

import pytest

import rosterkit
from conftest import ALICE, BOB, CAROL
from rosterkit import commands


def test_explanations(world: rosterkit.Engine) -> None:
    alice = world.open_session(ALICE, instance="desk")
    alice.set_presence("busy", note="writing")
    alice.add_buddy(BOB)
    world.open_session(BOB).confirm_buddy(ALICE)
    seen = json.loads(alice.explain_presence(BOB))
    assert (seen["because"], seen["shown"]) == ("subscribed", {"state": "busy", "note": "writing"})
    assert [(s["instance"], s["state"]) for s in seen["sessions"]] == [("desk", "busy")]
    alice.block(BOB)
    unseen = json.loads(alice.explain_presence(BOB))
    assert (unseen["because"], unseen["shown"]) == ("blocked", {"state": "offline"})
    facts = json.loads(alice.explain_admission(BOB))
    assert (facts["verdict"], facts["facts"]) == ("forbidden", [{"fact": "blocked", "held": True}])
    sent = world.send(CAROL, ALICE, "hello")
    became = json.loads(alice.explain_delivery(sent.position))
    assert (became["answer"], became["received"]["place"]) == ("stored", "unclaimed")
    with pytest.raises(rosterkit.NotFound):
        alice.explain_delivery(sent.position + 1)


def test_as_commands(world: rosterkit.Engine) -> None:
    alice = world.open_session(ALICE)
    for command, key in [
        (commands.explain_presence(alice, BOB), "because"),
        (commands.explain_admission(alice, BOB), "verdict"),
        (commands.explain_delivery(alice, world.send(BOB, ALICE, "x").position), "answer"),
    ]:
        world.submit([command])
        [answer] = world.next_answers(timeout=5)
        assert key in json.loads(answer.value())
