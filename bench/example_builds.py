"""Every example built by the real recipe: its candidates, and the winner against ONNX Runtime's own quantisation.

    python bench --only examples

An example is an EdgeModel of `examples/`; it is built for the catalogue's `generic-amd64`, with files from its folder
in place of a bucket. The winner is whom the operator chooses by what was measured here. Plain fp32 is the source as it
came; the default int8 is what `onnxruntime.quantization.quantize_static` makes of it and of the calibration set with no
option set. All run in the runtime's own engine on one thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import yaml
from contest import Pace, contest
from onnxruntime.quantization import quantize_static
from processor import has_vnni
from quantization import CONVOLUTIONS, NEVER_SLOWER, Reader
from row import Row

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import Alternative, EdgeModel
from edgesmith.api.trial_status import FinalistStatus
from edgesmith.decide.builds import build_for, models_of
from edgesmith.decide.gates import gates_of
from edgesmith.decide.settings import Settings
from edgesmith.decide.trial_records import finalists_of
from edgesmith.decide.verdicts import PASSED, Bounds, judge_trial
from edgesmith_builder.build import climb, first_report
from edgesmith_builder.contract import Artifact, Build, BuildReport, Candidate, Gates, MetricName
from edgesmith_builder.gates import judge
from edgesmith_builder.gather import Inputs, gather
from edgesmith_builder.ladder import Yardstick
from edgesmith_builder.score import ScoreFailed
from edgesmith_builder.source import Fetched, Limit
from edgesmith_runtime.engine import EngineError, load_engine
from edgesmith_runtime.loading import read
from edgesmith_stage.shell import ROOT

if TYPE_CHECKING:
    from edgesmith_builder.ladder import Outcome
    from edgesmith_runtime.engine import Engine

PLAIN, DEFAULT = "plain fp32", "default int8"
SETTINGS = Settings({"onnxruntime": f"registry.example/runtime@sha256:{'0' * 64}"}, "", "registry.example/models")


@dataclass(frozen=True)
class Folder:
    """An example's folder in place of the bucket that its manifest names."""

    path: Path
    form: str = "s3://BUCKET/KEY"

    def fetch(self, field: str, artifact: Artifact, target: Path, limit: Limit) -> Fetched:
        """See `Source.fetch`."""
        file = self.path / artifact.uri.rpartition("/")[2]
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        size = file.stat().st_size
        if digest != artifact.sha256 or size > limit.size:
            raise SystemExit(f"{field} {artifact.uri}: {file} of {size} bytes has sha256 {digest}")
        shutil.copyfile(file, target)
        return Fetched(target, size, digest)


@dataclass(frozen=True)
class Measured:
    """An example's build, and how fast each of its forms was."""

    name: str
    model: EdgeModel
    report: BuildReport
    convolutional: bool
    """Whether its source has convolutions, for which int8 is made."""
    paces: dict[str, Pace]
    """Of each finalist by its precision, of `PLAIN`, and of `DEFAULT` where there is such a one."""
    default: Candidate | None
    """What the default int8 answers."""

    @property
    def tried(self) -> tuple[FinalistStatus, ...]:
        """The finalists as a trial leaves them."""
        found = finalists_of(self.report, "registry.example/models@", self._metric)
        return tuple(
            one.model_copy(update={"reason": PASSED, "latency": f"{self.paces[one.precision].latency:.3f}ms"})
            for one in found
        )

    @property
    def winner(self) -> str:
        """The precision that the operator rolls out."""
        won = judge_trial(self.tried, self.model.spec.optimize.objective, Bounds.of(self.model)).winner
        if won is None:
            raise SystemExit(f"{self.name}: no finalist keeps its gates on this machine")
        return won

    @property
    def _metric(self) -> MetricName:
        return self.model.spec.evaluation.metric if self.model.spec.evaluation else "Accuracy"


def measure_examples() -> list[Row]:
    """Build and measure every example; some minutes."""
    logging.getLogger().setLevel(logging.ERROR)
    return [row for folder, model, one in examples() for row in _rows(measured(folder, model, one))]


def examples() -> Iterator[tuple[Path, EdgeModel, Alternative | None]]:
    """Every model of `examples/` with its folder: of each EdgeModel the source, then its alternatives."""
    for file in sorted((ROOT / "examples").glob("*/edgemodel*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            model = EdgeModel.model_validate(document)
            for _, alternative in models_of(model):
                yield file.parent, model, alternative


def measured(folder: Path, model: EdgeModel, alternative: Alternative | None = None) -> Measured:
    """Build an example as a Job does, up to its bundles, and measure what came out.

    An alternative is measured by itself, so the gates that hold it against the source are left out.
    """
    profile = yaml.safe_load((ROOT / "charts/edgesmith/profiles/generic-amd64.yaml").read_text())
    wanted = build_for(model, DeviceProfile.model_validate(profile), SETTINGS, alternative)
    name, gates = model.metadata.name, gates_of(model)
    if alternative is not None:
        name, gates = f"{name}-{alternative.name}", Gates()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        inputs = gather(wanted, Folder(folder), work, threads=1)
        outcome = climb(wanted, inputs, 0, work, threads=1)
        default = _default(inputs, work)
        with _loaded(work, outcome, inputs, default) as engines:
            feeds = read(work / outcome.winner.candidate.precision / "bundle")[1].samples(engines[PLAIN])
            paces = contest(engines, feeds)
            answered = _answered(wanted, inputs, engines.get(DEFAULT), default)
        graph = onnx.load(inputs.model.path, load_external_data=False).graph
    convolutional = any(node.op_type == "Conv" for node in graph.node)
    return Measured(name, model, _judged(first_report(inputs, outcome), gates), convolutional, paces, answered)


def _judged(report: BuildReport, gates: Gates) -> BuildReport:
    """The report with the finalists that keep the gates, and the reason at each candidate that does not."""
    found = judge(report, gates)
    candidates = tuple(
        one.model_copy(update={"rejected": found.refused.get(one.precision)}) for one in report.candidates
    )
    return report.model_copy(update={"finalists": found.finalists, "candidates": candidates})


def _default(inputs: Inputs, work: Path) -> Path | None:
    """What ONNX Runtime's static quantisation makes of the source with no option set; None where it makes nothing."""
    target = work / "default.onnx"
    if inputs.calibration is None:
        return None
    try:
        quantize_static(inputs.model.path, target, Reader(inputs.calibration))
        load_engine("onnxruntime", target, threads=1).close()
    except Exception as error:  # noqa: BLE001 - the library's errors have no base class of their own
        print(f"ONNX Runtime's default int8 of this model cannot be had: {str(error).splitlines()[0][:200]}")
        return None
    return target


@contextlib.contextmanager
def _loaded(work: Path, outcome: Outcome, inputs: Inputs, default: Path | None) -> Iterator[dict[str, Engine]]:
    """Every form of a model, loaded as on a device."""
    with contextlib.ExitStack() as stack:
        engines: dict[str, Engine] = {}
        for attempt in outcome.finalists:
            precision = attempt.candidate.precision
            bundle = read(work / precision / "bundle")[0]
            engines[precision] = load_engine(bundle.engine, bundle.model_path, threads=1, options=bundle.options)
        engines[PLAIN] = load_engine(inputs.model.engine, inputs.model.path, threads=1)
        if default is not None:
            engines[DEFAULT] = load_engine("onnxruntime", default, threads=1)
        for engine in engines.values():
            stack.callback(engine.close)
        yield engines


def _answered(wanted: Build, inputs: Inputs, engine: Engine | None, file: Path | None) -> Candidate | None:
    """The default int8, scored as a candidate is."""
    if engine is None or file is None:
        return None
    yardstick = Yardstick(inputs.metric, inputs.evaluation, inputs.scored, inputs.answers, inputs.reference)
    try:
        said = yardstick.measure(engine, "int8")
    except (ScoreFailed, EngineError) as error:
        print(f"{wanted.source.uri}: ONNX Runtime's default int8 does not answer: {error}")
        return None
    return Candidate(precision="int8", size=file.stat().st_size, **said)


def _rows(found: Measured) -> list[Row]:
    name, paces, winner = found.name, found.paces, found.winner
    rows: list[Row] = []
    for candidate in found.report.candidates:
        rows += _candidate(f"{name} {candidate.precision}", candidate, paces.get(candidate.precision), paces[PLAIN])
    if found.default is not None:
        rows += _candidate(f"{name} {DEFAULT}", found.default, paces[DEFAULT], paces[PLAIN])
    won = paces[winner]
    aim = CONVOLUTIONS if found.convolutional and has_vnni() else NEVER_SLOWER
    rows.append(Row(f"{name}: {winner} wins", won.work, "ms", PLAIN, won.against(paces[PLAIN]), most=aim))
    if DEFAULT in paces:
        rows.append(Row(f"{name}: {winner} wins", won.work, "ms", DEFAULT, won.against(paces[DEFAULT])))
    return rows


def _candidate(name: str, one: Candidate, pace: Pace | None, plain: Pace) -> list[Row]:
    rows = [Row(f"{name}, model file", one.size / 1000, "kB")] if one.size is not None else []
    if one.accuracy is not None:
        drop = f"drop {one.accuracy_drop:.4f}" if one.accuracy_drop is not None else None
        error = f" ± {one.accuracy_drop_error:.4f}" if one.accuracy_drop_error is not None else ""
        known = f"± {one.accuracy_error:.4f}" if one.accuracy_error is not None else None
        said = ", ".join(words for words in (known, drop + error if drop else None) if words)
        rows.append(Row(f"{name}, metric", one.accuracy, "", said or None))
    if one.rejected is not None:
        rows.append(Row(f"{name}, passed", 0, "", one.rejected))
    if pace is not None:
        rows.append(Row(f"{name}, p95", pace.latency, "ms"))
        rows.append(Row(f"{name}, processor", pace.work, "ms", PLAIN, pace.against(plain)))
    return rows
