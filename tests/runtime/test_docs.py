"""The page on the runtime names everything there is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import pytest

from edgesmith_runtime.cli import build_parser
from edgesmith_runtime.codec.http import LARGEST_ANSWER, LARGEST_JSON
from edgesmith_runtime.codec.jsontext import MOST_CONTAINERS
from edgesmith_runtime.http.limits import MEBIBYTE, SMALL_ANSWER, Limits
from edgesmith_runtime.metrics import METRICS, Metric
from edgesmith_runtime.rpc.server import GrpcLimits
from edgesmith_runtime.rpc.watchers import MOST_WATCHERS
from edgesmith_runtime.signature import MOST_CLASSES
from edgesmith_runtime.tensors import DTYPES
from edgesmith_runtime.termination import Reason

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "runtime.md").read_text()


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_in_the_table(metric: Metric) -> None:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    cells = [f"`{metric.name}`", metric.kind, labels, metric.help]
    assert "| " + " | ".join(cells).replace("|  |", "| |") + " |" in PAGE


def _flags() -> list[str]:
    parser = build_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    actions = [action for command in commands.choices.values() for action in command._actions]
    return sorted({flag for action in actions for flag in action.option_strings if flag.startswith("--")} - {"--help"})


@pytest.mark.parametrize("flag", _flags())
def test_a_flag_is_described(flag: str) -> None:
    assert f"`{flag}`" in PAGE


def test_the_limits_are_named() -> None:
    limits = Limits()
    own = GrpcLimits()
    between = int(limits.rate * own.silent / 1024)
    windows = (int(limits.rate * limits.stall / 1024), int(limits.rate * limits.unread / 1024))
    for text in (
        f"{LARGEST_JSON // MEBIBYTE} MiB, {MOST_CONTAINERS:,} lists and objects",
        f"| {LARGEST_ANSWER // MEBIBYTE} MiB | 400, which says to ask for binary data",
        f"{limits.head // 1024} KiB, {limits.headers} of them, {limits.head_time:g} seconds for all",
        f"{windows[0]} KiB, or its end, every {limits.stall:g} seconds",
        f"{windows[1]} KiB, or its end, every {limits.unread:g} seconds",
        f"{limits.answer:g} seconds from the request's last byte",
        f"| time between two requests | {limits.idle:g} seconds |",
        f"| connections | {limits.connections:,} |",
        f"a further answer of more than {SMALL_ANSWER // 1024} KiB becomes a 503 or UNAVAILABLE",
        f"a ping after {own.silent:g} seconds to clients that say nothing, and behind every {between} KiB",
        f"its program hangs is cut off after {own.silent + own.answer:g} seconds",
        f"{MOST_WATCHERS} callers of `Watch` may stay",
        f"its N best classes, {MOST_CLASSES:,} at most",
    ):
        assert text in PAGE


@pytest.mark.parametrize("reason", get_args(Reason))
def test_a_reason_is_named(reason: str) -> None:
    assert f"`{reason}`" in PAGE


def test_the_datatypes_are_named() -> None:
    named = "BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64 and BYTES"
    assert named in PAGE
    assert {name for name in DTYPES if "INT" not in name} == {"BOOL", "FP16", "BF16", "FP32", "FP64", "BYTES"}
