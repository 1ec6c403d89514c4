"""`edgesmith report`."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.status import EdgeModelStatus, RefusedCandidate, VariantBuild, VariantStatus
from edgesmith.api.trial_status import FinalistStatus, TrialStatus, candidate_name
from edgesmith.api.units import parse_duration
from edgesmith.archive.whole import whole
from edgesmith.cli.answer import Answer
from edgesmith.cli.asking import asked_for
from edgesmith.cli.chart import Chart, Point
from edgesmith.cli.table import size, table


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate, in words."""

    profile: str
    candidate: str
    score: str
    """The metric's value or, without one, the agreement with the source; with how far it may be off."""
    drop: str
    """What of the score is lost against the source, with half the width of its 95 % confidence interval."""
    latency: str
    memory: str
    size: str
    multiplications: str
    """Of a pruned candidate: the share of the source's that is left."""
    renamed: str
    """Of an alternative: tensors that are called as the source calls them, with the names that they came under."""
    device: str
    """Where latency and memory were measured."""
    verdict: str


HEADER = (
    "PROFILE",
    "CANDIDATE",
    "SCORE",
    "DROP",
    "P95",
    "MEMORY",
    "SIZE",
    "MULTIPLICATIONS",
    "RENAMED",
    "DEVICE",
    "VERDICT",
)
_SELDOM = frozenset({"MULTIPLICATIONS", "RENAMED"})
"""Columns that the table has where a row fills them."""

_Renamed = Mapping[str, str]
"""What each alternative's build renamed, by its name."""


def run(found: argparse.Namespace) -> Answer:
    """Write the files that are asked for, and give the table.

    Raises:
        ClusterError: The EdgeModel could not be read.
        ValueError: There is nothing to draw.
        OSError: A file cannot be written.
    """
    model = asyncio.run(asked_for(found))
    # All is drawn before anything is written: where one cannot be, there is none.
    files: dict[str, bytes] = {}
    if found.png:
        files[found.png] = chart_of(model).png()
    if found.html:
        rows = [HEADER, *(tuple(asdict(row).values()) for row in rows_of(model))]
        files[found.html] = chart_of(model).page(rows).encode()
    for name, data in files.items():
        _write(Path(name), data)
    return Answer(as_json(model) if found.output == "json" else as_text(model))


def _write(path: Path, data: bytes) -> None:
    """Write a file that is there whole or as it was; a pipe or a device, `/dev/stdout` say, takes what comes."""
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    with whole(path) as file:
        file.write(data)


def rows_of(model: EdgeModel) -> list[Row]:
    """Every candidate of the present builds that a device tried or that is rolled out, then those that are out."""
    status = EdgeModelStatus.model_validate(model.status)
    trials = {(one.profile, one.build_key): one for one in status.trials}
    found: list[Row] = []
    for variant in status.variants:
        trial = trials.get((variant.profile, _trial_key(variant)))
        renamed = {one.alternative: one.renamed or "" for one in variant.builds}
        if trial:
            found += [_tried(trial, one, renamed) for one in trial.finalists]
        elif variant.precision:
            found.append(_alone(variant, renamed, never=model.spec.optimize.trial == "Never"))
        tried = {one.name for one in trial.finalists} if trial else set()
        found += [_out(variant.profile, one, renamed) for one in variant.refused if one.name not in tried]
        # Where the candidates of one that failed are out, each says why.
        told = {("Failed", one.alternative) for one in variant.refused}
        unbuilt = [one for one in variant.builds if one.message and (one.state, one.alternative) not in told]
        found += [_unbuilt(variant.profile, one) for one in unbuilt]
    return found


def as_text(model: EdgeModel) -> str:
    """The table."""
    rows = rows_of(model)
    if not rows:
        return f"Nothing was measured yet for EdgeModel {model.metadata.name}."
    lines = [list(asdict(row).values()) for row in rows]
    shown = [at for at, name in enumerate(HEADER) if name not in _SELDOM or any(line[at] for line in lines)]
    return table([HEADER[at] for at in shown], [[line[at] for at in shown] for line in lines])


def as_json(model: EdgeModel) -> str:
    """The same for programs."""
    return json.dumps([asdict(row) for row in rows_of(model)], indent=2)


def chart_of(model: EdgeModel) -> Chart:
    """Score against latency of every candidate that a device measured.

    Raises:
        ValueError: None was.
    """
    status = EdgeModelStatus.model_validate(model.status)
    present = {(variant.profile, _trial_key(variant)) for variant in status.variants}
    points = tuple(
        Point(
            _milliseconds(one.latency),
            value,
            f"{one.name}, {trial.profile}",
            one.name == trial.winner,
            one.alternative or "",
        )
        for trial in status.trials
        if (trial.profile, trial.build_key) in present
        for one in trial.finalists
        if one.latency is not None and (value := _number(one)) is not None
    )
    if not points:
        raise ValueError(
            f"no device has tried candidates of EdgeModel {model.metadata.name}; a picture needs two at least"
        )
    metric = next((one.metric for one in status.variants if one.metric), "Agreement")
    percent = "" if metric in ("RMSE", "MAE") else " in %"
    return Chart(f"{model.metadata.namespace}/{model.metadata.name}", "p95 latency in ms", f"{metric}{percent}", points)


def _tried(trial: TrialStatus, one: FinalistStatus, renamed: _Renamed) -> Row:
    processor = (trial.device or {}).get("processor")
    device = f"{trial.node} ({processor})" if trial.node and processor else trial.node or ""
    return Row(
        trial.profile,
        one.name,
        _score(one),
        _with_error(one.accuracy_drop, one.accuracy_drop_error),
        one.latency or "",
        size(one.memory),
        size(one.size),
        one.multiplications or "",
        renamed.get(one.alternative or "", ""),
        device,
        one.verdict or trial.message or "",
    )


def _out(profile: str, one: RefusedCandidate, renamed: _Renamed) -> Row:
    return Row(
        profile,
        one.name,
        _score(one),
        _with_error(one.accuracy_drop, one.accuracy_drop_error),
        "",
        "",
        size(one.size),
        one.multiplications or "",
        renamed.get(one.alternative or "", ""),
        "",
        f"It is out: {one.message.rstrip('.')}.",
    )


def _unbuilt(profile: str, one: VariantBuild) -> Row:
    """A build of an alternative, or of the source beside some, that has no candidates."""
    verdict = f"It is out: {one.message}" if one.state == "Failed" else f"{one.state}: {one.message}"
    return Row(profile, one.alternative, "", "", "", "", "", "", one.renamed or "", "", verdict)


def _trial_key(variant: VariantStatus) -> str:
    """The build key that a variant's trial goes by: that of `spec.source`."""
    return next((one.build_key for one in variant.builds), variant.build_key or "")


def _alone(one: VariantStatus, renamed: _Renamed, *, never: bool) -> Row:
    """The candidate of a build without a trial."""
    if never:
        why = "It is the first of the ladder that keeps the gates; spec.optimize.trial is Never."
    else:
        why = "No other keeps the gates." if one.refused else "There was no other to choose from."
    return Row(
        one.profile,
        candidate_name(one.alternative, one.precision or ""),
        _score(one),
        _with_error(one.accuracy_drop, one.accuracy_drop_error),
        one.latency or "",
        "",
        size(one.size),
        one.multiplications or "",
        renamed.get(one.alternative or "", ""),
        "",
        why,
    )


def _with_error(value: str | None, error: str | None) -> str:
    return f"{value} ± {error}" if value and error else value or ""


def _score(one: FinalistStatus | RefusedCandidate | VariantStatus) -> str:
    if one.accuracy:
        return _with_error(one.accuracy, one.accuracy_error)
    return _with_error(one.agreement, one.agreement_error)


def _number(one: FinalistStatus) -> float | None:
    text = one.accuracy or one.agreement
    return float(text.rstrip("%")) if text else None


def _milliseconds(text: str) -> float:
    return parse_duration(text).total_seconds() * 1000
