"""Names, units and types."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError
from snapshots import model

from edgesmith.api.names import MAX_MODEL_NAME, daemon_set_name, job_name, node_label, parse_node_label
from edgesmith.api.units import parse_bytes, parse_duration, parse_share


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("1k", 1000), ("1Ki", 1024), ("1.5Mi", 1572864), ("2T", 2 * 10**12), ("1500m", 2), (7, 7)],
)
def test_quantities(text: str | int, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "Mi", "1 Mi", "1u", "-1", "1KiB"])
def test_what_is_no_quantity_of_bytes(text: str) -> None:
    with pytest.raises(ValueError, match="512Mi"):
        parse_bytes(text)


@pytest.mark.parametrize(("text", "seconds"), [("50ms", 0.05), ("90s", 90), ("1h30m", 5400), ("1.5m", 90), ("0s", 0)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "5 m", "m", "1d", "-1s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("value", "total", "expected"),
    [(3, 10, 3), ("20%", 10, 2), ("20%", 4, 1), ("20%", 0, 1), ("100%", 7, 7), ("50%", 7, 3)],
)
def test_shares(value: int | str, total: int, expected: int) -> None:
    assert parse_share(value, total) == expected


@pytest.mark.parametrize("value", [0, -1, "0%", "101%", "20", "abc"])
def test_max_unavailable_is_refused_without_an_api_server_too(value: int | str) -> None:
    with pytest.raises(ValidationError, match="a number from 1 or a percentage"):
        model(rollout={"maxUnavailable": value})


def test_names_fit() -> None:
    longest = "m" * MAX_MODEL_NAME
    assert len(daemon_set_name(longest, "0" * 10)) + len("-12345") <= 63
    assert len(job_name(longest, "0" * 32, "attempt", 7)) <= 63


def test_each_try_and_attempt_is_another_job() -> None:
    names = {job_name("m", "k" * 32, attempt, tries) for attempt in ("", "1", "2") for tries in range(5)}
    assert len(names) == 15


def test_node_labels_read_back() -> None:
    assert parse_node_label(node_label("plant", "parts")) == ("plant", "parts")
    assert parse_node_label("kubernetes.io/hostname") is None
    assert parse_node_label("plain") is None
