"""A termination message is whole JSON however long its sentences are, in whatever script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgesmith_runtime.termination import LONGEST, Finding, write_termination

FACTS = {f"fact{number}": "x" * 200 for number in range(5)}


@pytest.mark.parametrize("letter", ["a", "é", "検", "😀", '"', "\x00"])
def test_a_message_too_long_is_shortened_and_no_more_than_it_has_to(tmp_path: Path, letter: str) -> None:
    finding = Finding("EngineFailed", letter * 1000, warning=letter * 300, device=FACTS)
    write_termination(tmp_path / "log", finding, create=True)
    text = (tmp_path / "log").read_bytes()
    said = json.loads(text)
    assert said["device"].items() >= FACTS.items()
    assert said["message"] == letter * len(said["message"])
    whole = (len(said["message"]), len(said["warning"])) == (1000, 300)
    assert len(text) <= LONGEST
    assert whole == (letter in 'a"'), "1,300 letters of one or two bytes fit"
    if not whole:
        assert len(text) > LONGEST - 24, "no room is left for two letters more"


def test_a_device_that_changed_is_said_beside_a_warning_and_shortened_as_one(tmp_path: Path) -> None:
    finding = Finding("Passed", "検" * 700, warning="検" * 300, recompiled="検" * 900, device=FACTS)
    write_termination(tmp_path / "log", finding, create=True)
    text = (tmp_path / "log").read_bytes()
    said = json.loads(text)
    assert len(text) <= LONGEST
    assert 0 < len(said["recompiled"]) <= 300
    assert Finding("Passed", "").document()["recompiled"] is None


def test_without_a_warning_there_is_room_for_the_message_alone(tmp_path: Path) -> None:
    write_termination(tmp_path / "log", Finding("GoldenMismatch", "検" * 700, device=FACTS), create=True)
    assert json.loads((tmp_path / "log").read_bytes())["reason"] == "GoldenMismatch"
