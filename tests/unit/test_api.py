"""Names, units and types."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from snapshots import model

from edgesmith.api.edgemodel import EdgeModelSpec
from edgesmith.api.fraction import FRACTION_MESSAGE, format_fraction, parse_fraction
from edgesmith.api.names import MAX_MODEL_NAME, daemon_set_name, job_name, node_label, parse_node_label
from edgesmith.api.source import Source
from edgesmith.api.units import parse_bytes, parse_duration, parse_share


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("1k", 1000), ("1Ki", 1024), ("1.5Mi", 1572864), ("2T", 2 * 10**12), ("1500m", 1), (7, 7)],
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
    ("text", "value"),
    [
        *((text, 0.01) for text in ("1%", "1.00%", "0.01", "10m")),
        *((text, 1.0) for text in ("100%", "100.0%", "1", "1.0", "1000m")),
        *((text, 0.0) for text in ("0%", "0", "0m")),
        ("0.5%", 0.005),
    ],
)
def test_fractions(text: str, value: float) -> None:
    assert parse_fraction(text) == value
    assert model(gates={"minAccuracy": text}).spec.gates.min_accuracy == text


@pytest.mark.parametrize("text", ["", "%", "101%", "100.1%", "1.1", "1001m", "-1%", "1 %", ".5", "1e-2", "0.5%%"])
def test_what_is_no_fraction(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(FRACTION_MESSAGE)):
        parse_fraction(text)


@pytest.mark.parametrize("value", [0.01, 0, 1, True])
def test_a_fraction_is_never_a_number(value: object) -> None:
    with pytest.raises(ValidationError, match="valid string"):
        model(gates={"minAccuracy": value})


def test_a_fraction_is_shown_as_a_percentage() -> None:
    assert [format_fraction(value) for value in (0.97123, 1.0, 0.0, -0.001)] == ["97.12%", "100.00%", "0.00%", "-0.10%"]


YEAR = timedelta(days=365)


@pytest.mark.parametrize(("text", "expected"), [("8760h", YEAR), ("0.001ms", timedelta(microseconds=1)), ("0ms", None)])
def test_the_longest_and_the_shortest_duration(text: str, expected: timedelta | None) -> None:
    assert parse_duration(text) == (expected or timedelta())


@pytest.mark.parametrize("text", ["8760h1ms", "9" * 21 + "h", "9" * 400 + "ms", "8000h8000h"])
def test_a_duration_beyond_a_year_is_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text[:32]) + ".* is too long; 8760h .one year. or less") as caught:
        parse_duration(text)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("text", ["1048577Ti", "9" * 330 + "Ti", "9" * 5000])
def test_a_quantity_beyond_an_exbibyte_is_one_sentence(text: str) -> None:
    assert parse_bytes("1048576Ti") == 2**60
    with pytest.raises(ValueError, match=re.escape(text[:32]) + ".* is too large; 1048576Ti .1 EiB. or less") as caught:
        parse_bytes(text)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("spec", "field", "says"),
    [
        ({"gates": {"maxLatency": "0s"}}, "gates.maxLatency", "'0s' is too short; 0.001ms or more was expected"),
        ({"gates": {"maxLatency": "0.0001ms"}}, "gates.maxLatency", "0.001ms or more was expected"),
        ({"gates": {"maxLatency": "9000h"}}, "gates.maxLatency", "8760h (one year) or less was expected"),
        ({"gates": {"maxMemory": "2000000Ti"}}, "gates.maxMemory", "1048576Ti (1 EiB) or less was expected"),
        ({"gates": {"maxImageSize": "0.5"}}, "gates.maxImageSize", "'0.5' is too small; 1 or more was expected"),
        ({"gates": {"maxImageSize": "9" * 330 + "Ti"}}, "gates.maxImageSize", "1048576Ti (1 EiB) or less was expected"),
        (
            {"rollout": {"steps": [{"nodes": 1, "bake": "9" * 20 + "h"}]}},
            "rollout.steps.0.bake",
            "8760h (one year) or less",
        ),
        ({"rollout": {"progressDeadline": "999ms"}}, "rollout.progressDeadline", "1s or more was expected"),
    ],
)
def test_what_a_lenient_api_server_lets_through_is_refused_by_name(spec: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model(**spec)
    error = caught.value.errors()[0]
    assert ".".join(str(part) for part in error["loc"]) == f"spec.{field}"
    assert says in error["msg"]


def test_values_at_their_bounds_are_taken() -> None:
    gates = {"maxLatency": "0.001ms", "maxMemory": 1, "maxImageSize": "1048576Ti"}
    rollout = {"steps": [{"nodes": 1, "bake": "0s"}], "progressDeadline": "1s"}
    spec = model(gates=gates, rollout=rollout).spec
    assert (spec.gates.max_latency, spec.gates.max_memory, spec.gates.max_image_size) == tuple(gates.values())
    assert (spec.rollout.steps[0].bake, spec.rollout.progress_deadline) == ("0s", "1s")
    assert model(rollout={"steps": [{"nodes": 1, "bake": "8760h"}]}).spec.rollout.steps[0].bake == "8760h"


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
    assert len(job_name("0" * 32, "attempt", 7)) <= 63


def test_each_try_and_attempt_is_another_job() -> None:
    names = {job_name("k" * 32, attempt, tries) for attempt in ("", "1", "2") for tries in range(5)}
    assert len(names) == 15


def test_node_labels_read_back() -> None:
    assert parse_node_label(node_label("plant", "parts")) == ("plant", "parts")
    assert parse_node_label("kubernetes.io/hostname") is None
    assert parse_node_label("plain") is None


@pytest.mark.parametrize("text", ["0s", "0h", "1m", "60000ms", "1h", "8760h"])
def test_an_interval_is_none_or_a_minute_or_more(text: str) -> None:
    assert Source.model_validate({"uri": "s3://models/x", "interval": text}).interval == text


@pytest.mark.parametrize("text", ["59s", "1ms", "0.5m", "8761h", "hourly", "-1h", ""])
def test_an_interval_of_less_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="interval"):
        Source.model_validate({"uri": "s3://models/x", "interval": text})


def test_every_file_of_a_spec_has_a_field() -> None:
    files = {"calibration": {"uri": "s3://models/c"}, "evaluation": {"uri": "s3://models/e"}}
    compiled = [{"toolchain": "EdgeTPU", "uri": "s3://models/t"}]
    spec = {"source": {"uri": "s3://models/s"}, **files, "compiled": compiled, "deviceProfiles": {"names": ["p"]}}
    found = EdgeModelSpec.model_validate(spec).files
    assert {field: file.uri[-1] for field, file in found.items()} == {
        "source": "s",
        "calibration": "c",
        "evaluation": "e",
        "compiled[EdgeTPU]": "t",
    }
    assert all(file.sha256 is None for file in found.values())
