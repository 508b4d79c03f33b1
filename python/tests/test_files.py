"""The file storage, and the avatar."""

from __future__ import annotations

import base64

import pytest

import rosterkit
from conftest import ALICE, BOB
from rosterkit import commands

#: By `printf abc | sha1sum`.
ABC = "a9993e364706816aba3e25717850c26c9cd0d89d"


def vcard(image: bytes) -> bytes:
    return b"BEGIN:VCARD\r\nFN:Bob\r\nPHOTO;ENCODING=b:" + base64.b64encode(image) + b"\r\nEND:VCARD\r\n"


def test_files(world: rosterkit.Engine) -> None:
    alice, bob = world.open_session(ALICE), world.open_session(BOB)
    bob.write_file("public/hours.txt", b"nine to five")
    bob.write_file("notes.txt", bytes(range(256)))
    assert [(f.path, f.size) for f in bob.files()] == [("notes.txt", 256), ("public/hours.txt", 12)]
    assert bob.read_file("notes.txt") == bytes(range(256))
    assert alice.read_file("public/hours.txt", BOB) == b"nine to five"
    with pytest.raises(rosterkit.NotFound):
        alice.read_file("notes.txt", BOB)
    bob.remove_file("notes.txt")
    with pytest.raises(rosterkit.NotFound):
        bob.read_file("notes.txt")
    with pytest.raises(rosterkit.InvalidArgument):
        bob.write_file("../x", b"")
    bob.set_preferences(rosterkit.PreferenceOverrides(storage_bytes=20))
    with pytest.raises(rosterkit.LimitExceeded):
        bob.write_file("more", b"x" * 10)


def test_messages_are_there_as_files(world: rosterkit.Engine) -> None:
    world.send(ALICE, BOB, "hello")
    bob = world.open_session(BOB, reads_messages=False)
    assert [f.path for f in bob.files("private/")] == [f"private/IM/{ALICE}.log", "private/IM/offline"]
    assert bob.read_file("private/IM/offline").endswith(b'<"hello"\n')
    with pytest.raises(rosterkit.Forbidden):
        bob.write_file("private/IM/offline", b"x")


def test_the_avatar(world: rosterkit.Engine) -> None:
    alice, bob = world.open_session(ALICE), world.open_session(BOB)
    alice.add_buddy(BOB)
    bob.confirm_buddy(ALICE)
    for session in (alice, bob):
        session.set_presence("online")
    list(alice.events(timeout=0))
    bob.write_file("profile.vcf", vcard(b"abc"))
    shown = rosterkit.Presence(rosterkit.PresenceState.ONLINE, None, ABC)
    assert list(alice.events(timeout=0)) == [rosterkit.PresenceChanged(0, BOB, shown)]
    assert alice.presence(BOB).avatar == ABC
    assert alice.read_file("profile.vcf", BOB) == vcard(b"abc")
    with pytest.raises(rosterkit.InvalidArgument, match="vCard"):
        bob.write_file("profile.vcf", b"hello")


def test_as_commands(engine: rosterkit.Engine) -> None:
    submitted = [
        commands.write_file(BOB, "a", b"1"),
        commands.list_files(BOB),
        commands.read_file(BOB, "a"),
        commands.remove_file(BOB, "a"),
    ]
    tickets = engine.submit(submitted)
    answers: dict[int, object] = {}
    while len(answers) < len(tickets):
        answers.update({a.ticket: a.value() for a in engine.next_answers(timeout=5)})
    _, files, content, _ = (answers[ticket] for ticket in tickets)
    assert isinstance(files, list) and [f.path for f in files] == ["a"]
    assert content == b"1"
