"""What the API server says of a wrong field: its path, its value and what was expected, in one sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from apiserver import ApiServer, Object
from operator_process import edge_model

SET = {"uri": "s3://models/evaluation.npz"}
HEX = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
FRACTION = "must be a fraction from 0 to 1 as a string: 1%, 0.01 or 10m"
DURATION = "must be a duration such as 50ms, 90s or 1h30m"
REVISION = "must be a revision, a build key, or the digest of an image (sha256:HEX)"
PLACE = "must be s3://BUCKET/KEY, https://HOST/PATH, or oci://REGISTRY/NAME"
WRONG: list[tuple[str, Any, str]] = [
    ("gates.replayInterval", "1s", "must be 0s, or 1m or more"),
    ("gates.replayInterval", "never", DURATION),
    ("gates.traffic.maxErrorRate", "110%", FRACTION),
    ("gates.traffic.maxConfidenceDrop", "-5%", FRACTION),
    (
        "gates.traffic.maxLatencyRatio",
        "150%",
        "must be a number from 1 as a string, with a point and without %: 1.5, say",
    ),
    (
        "gates.traffic.maxLatencyRatio",
        "0.5",
        "must be a number from 1 as a string, with a point and without %: 1.5, say",
    ),
    ("gates.traffic.minRequests", 0, "should be greater than or equal to 1"),
    ("gates.traffic.period", "forever", DURATION),
    ("gates.maxLatency", "fast", DURATION),
    ("gates.maxError", "-1", "must be a number from 0 as a string: 0.75, say"),
    ("picture.deviation[0]", "0.00", "must not be 0: it divides"),
    ("picture.deviation[0]", "-0", "must not be 0: it divides"),
    ("picture.deviation[0]", "half", "must be a number as a string: 123.675, say"),
    ("rollout.jitter", "-1m", DURATION),
    ("rollout.maxPulling", 0, "must be a number from 1 or a percentage from 1% to 100%"),
    ("rollout.maxPulling", "200%", "must be a number from 1 or a percentage from 1% to 100%"),
    ("rollout.partitions.bake", "soon", DURATION),
    ("rollout.partitions.label", "zone!", "must be the key of a label: zone or topology.kubernetes.io/zone, say"),
    ("rollout.partitions.order[0]", "line 1", "must be the value of a label: letters, digits, -, _ and ."),
    ("rollout.priority", 1_000_000_000, "should be less than or equal to 1000"),
    ("rollout.progressDeadline", "-1m", DURATION),
    ("rollout.progressDeadline", "1ms", "must be 1s or more"),
    ("rollout.override[0]", "latest", REVISION),
    ("rollout.promote[0].revision", "latest", REVISION),
    ("rollout.rollbackTo[0].from", "latest", REVISION),
    ("rollout.windows[0].start", "24:00", "must be a time of day from 00:00 to 23:59, as 22:00 is"),
    ("rollout.windows[0].start", "evening", "must be a time of day from 00:00 to 23:59, as 22:00 is"),
    ("rollout.windows[0].timeZone", "Lake Constance", "must be a name of the IANA time zone database"),
    ("optimize.pruning.ratio", "100%", "must be a percentage from 1% to 99%"),
    ("source.uri", "http://h/m.onnx", PLACE),
    ("source.sha256", "abc", "must be the 64 hex digits of a SHA-256, a to f in lower case"),
    ("source.secretRef.name", "my_store", "must be the name of a Secret: letters in lower case, digits, - and ."),
]
"""Field, value, what is said to be expected."""
BESIDE: dict[str, Any] = {
    "picture": {"classification": {}},
    "rollout.promote": {"revision": "0123456789"},
    "rollout.rollbackTo": {"from": "0123456789", "revision": "abcdefabcd"},
    "rollout.windows": {"start": "22:00", "end": "23:00"},
    "rollout.partitions": {"label": "zone"},
    "source": {"uri": "s3://models/x", "sha256": HEX},
}
"""What has to stand beside a wrong value."""


def with_wrong(field: str, value: Any) -> dict[str, Any]:
    """A spec with one value that is wrong."""
    *parents, last = field.split(".")
    inner: Any = [value] if last.endswith("]") else value
    held: Any = {last.removesuffix("[0]"): inner}
    for depth in range(len(parents), 0, -1):
        name, path = parents[depth - 1], ".".join(parents[:depth]).replace("[0]", "")
        held = BESIDE.get(path, {}) | held
        held = {name.removesuffix("[0]"): [held] if name.endswith("]") else held}
    spec: Object = {"calibration": SET, "evaluation": SET | {"metric": "MAE"}}
    return {**spec, **held}


@pytest.mark.parametrize(("field", "value", "expected"), WRONG, ids=[f"{field}={value}" for field, value, _ in WRONG])
def test_a_refusal_says_the_field_its_value_and_what_was_expected(
    server: ApiServer, namespace: str, field: str, value: Any, expected: str
) -> None:
    """One cause, which kubectl shows as one line: no regular expression, no error of conversion beside it."""
    refusal = server.refusal(edge_model("parts", namespace, **with_wrong(field, value)))
    (cause,) = refusal["details"]["causes"]
    assert cause["field"] == f"spec.{field}"
    assert f"Invalid value: {json.dumps(value)}" in cause["message"]
    assert expected in cause["message"]
    assert "should match" not in refusal["message"]
    assert "conversion" not in refusal["message"]
