"""Rules, registrations, and what the host itself is asked to do."""

from __future__ import annotations

import json

import pytest

import rosterkit
from conftest import ALICE, BOB, CAROL, texts
from rosterkit import commands

HOUR_MS = 3_600_000


def one(*actions: object, stage: object = "immediate", conditions: object = ()) -> str:
    rule = {"name": "r", "stage": stage, "priority": 5, "conditions": list(conditions), "actions": list(actions)}  # type: ignore[call-overload]
    return json.dumps({"rules": [rule]})


def told(session: rosterkit.Session) -> list[rosterkit.Event]:
    return list(session.events(timeout=0))


def host(world: rosterkit.Engine) -> list[rosterkit.HostEvent]:
    return world.next_host_events(timeout=0)


def test_an_accounts_rules(world: rosterkit.Engine) -> None:
    alice, bob, carol = (world.open_session(account) for account in (ALICE, BOB, CAROL))
    bob.set_rules(one({"redirect-to": [CAROL]}, conditions=[{"body": {"is": "*urgent*"}}]))
    sent = alice.send(BOB, "This is URGENT")
    [event] = told(carol)
    assert isinstance(event, rosterkit.MessageReceived)
    assert (event.message.id, event.message.sender) == (sent.message_id, alice.address)
    assert told(bob) == []
    [immediate, _, _] = json.loads(bob.explain_rules(ALICE, "urgent"))
    assert immediate["rules"][0]["held"] and not immediate["rules"][0]["rule"]["place"]
    bob.set_rules(one({"reject-with": "Not now."}))
    with pytest.raises(rosterkit.Forbidden, match="Not now."):
        alice.send(BOB, "hello")
    assert json.loads(bob.rules())["rules"][0]["actions"] == [{"reject-with": "Not now."}]
    with pytest.raises(rosterkit.InvalidArgument, match=r"rules\[0\].actions\[0\]"):
        bob.set_rules(one({"redirect-to": [BOB]}))


def test_the_servers_rules_and_the_domains(world: rosterkit.Engine) -> None:
    alice = world.open_session(ALICE)
    world.set_rules(one({"reject-with": "the domain"}), "example.org")
    with pytest.raises(rosterkit.Forbidden, match="the domain"):
        alice.send(BOB, "hello")
    world.set_rules(one("discard-rules"))
    alice.send(BOB, "hello")
    assert "the domain" in world.rules("example.org") and "discard-rules" in world.rules()
    with pytest.raises(rosterkit.NotFound):
        world.rules("elsewhere.example")


def test_what_rules_hand_to_the_host(world: rosterkit.Engine) -> None:
    bob = world.open_session(BOB)
    bob.set_rules(one({"send-url": "https://example.org/hook"}, {"send-push": "a call"}))
    sent = world.send(ALICE, BOB, "hello")
    assert host(world) == [
        rosterkit.OpenUrl(BOB, "account: r", "https://example.org/hook", sent.message_id),
        rosterkit.RulePush(BOB, "account: r", "a call", sent.message_id),
    ]
    assert host(world) == []


def test_a_device_is_to_be_woken(world: rosterkit.Engine) -> None:
    bob = world.open_session(BOB)
    now = bob.send(BOB, "what is the time?").time_ms
    token = rosterkit.Registration("phone", rosterkit.RegistrationKind.PUSH, "token", now + HOUR_MS)
    bob.add_registration(token)
    assert bob.registrations() == [token]
    bob.close()
    sent = world.send(ALICE, BOB, "hello")
    assert host(world) == [
        rosterkit.Push(BOB, "phone", "token", "new-message", ALICE, sent.message_id, sent.position, 1, None)
    ]
    world.advance(HOUR_MS // 1000 + 1)
    world.send(ALICE, BOB, "too late")
    assert host(world) == []


def test_a_contact_is_delivered_to(engine: rosterkit.Engine) -> None:
    bob = engine.open_session(BOB)
    bob.set_preferences(rosterkit.PreferenceOverrides(deliver_to_devices=True, utc_offset_minutes=-90))
    assert bob.preferences().utc_offset_minutes == -90
    with pytest.raises(rosterkit.InvalidArgument):
        bob.set_preferences(rosterkit.PreferenceOverrides(utc_offset_minutes=2_000))
    desk = rosterkit.Registration("desk", rosterkit.RegistrationKind.CONTACT, "sip:bob@10.0.0.1", 1 << 50)
    bob.add_registration(desk)
    bob.close()
    engine.send(ALICE, BOB, "hello")
    [deliver] = engine.next_host_events(timeout=5)
    assert isinstance(deliver, rosterkit.Deliver)
    assert (deliver.contact, deliver.message.text) == (desk.contact, "hello")
    engine.submit([commands.claim(BOB, [deliver.message.position]), commands.remove_registration(BOB, "desk")])
    answered: list[commands.Answered] = []
    while len(answered) < 2:
        answered += engine.next_answers(timeout=5)
    again = engine.open_session(BOB)
    assert texts(again.next_events(timeout=0.2)) == [] and again.registrations() == []
