"""Backups."""

from __future__ import annotations

from pathlib import Path

import pytest

import rosterkit
from conftest import ALICE, BOB


def test_a_backup_is_opened_as_any_file(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with rosterkit.Engine.open(file, ["example.org"]) as engine:
        for account in (ALICE, BOB):
            engine.create_account(account)
        engine.send(BOB, ALICE, "kept")
        engine.backup_to(copy)
        latest = engine.send(BOB, ALICE, "came later")
        with pytest.raises(rosterkit.Conflict):
            engine.backup_to(copy)
    with rosterkit.Engine.open(copy, ["example.org"]) as engine:
        alice = engine.open_session(ALICE)
        assert [message.text for message in alice.history().messages] == ["kept"]
        assert engine.send(BOB, ALICE, "goes on").position > latest.position


def test_what_is_in_memory_has_no_backup(world: rosterkit.Engine, tmp_path: Path) -> None:
    with pytest.raises(rosterkit.Misuse):
        world.backup_to(tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []
