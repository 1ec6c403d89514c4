"""Models of packages on PyPI, built by the real recipe: their candidates, how good and how fast each is.

    python bench/published_models.py

prints the table and the list of docs/examples.md. Times are the processor's for one inference on one thread, and as a
share of the time that the model takes as it came.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "tests" / name) for name in ("services", "published")]

from candidates import asked  # noqa: E402 - found by the lines above
from cases import Case, file_kinds, text_detector, text_reader, voice_detector  # noqa: E402
from contest import Pace, contest  # noqa: E402
from onnx import load_model  # noqa: E402

from edgesmith_builder.build import climb, first_report  # noqa: E402
from edgesmith_builder.contract import TOOLCHAINS, Candidate, Gates, Toolchain, ToolchainName  # noqa: E402
from edgesmith_builder.errors import NoCandidate  # noqa: E402
from edgesmith_builder.gates import judge  # noqa: E402
from edgesmith_runtime.engine import load_engine  # noqa: E402
from edgesmith_runtime.loading import read  # noqa: E402

VOICES = ("silero_vad.onnx", "silero_vad_op18_ifless.onnx", "silero_vad_openvino_16k.onnx")
TOOLCHAIN_NAMES: tuple[ToolchainName, ...] = ("ONNXRuntime", "OpenVINO")
GATES = Gates(max_accuracy_drop=0.1)
COLUMNS = ("model", "toolchain", "candidate", "size", "score", "time", "kept")


@dataclass(frozen=True)
class Tried:
    """What became of a candidate."""

    model: str
    toolchain: str
    candidate: Candidate
    pace: Pace | None = None
    plain: Pace | None = None
    """How fast the source is as it came."""
    refused: str | None = None

    @property
    def row(self) -> str:
        """A line of the table."""
        one, time = self.candidate, ""
        if self.pace is not None and self.plain is not None:
            time = f"{self.pace.work:.2g} ms, {self.pace.against(self.plain):.1f}"
        size = f"{one.size / 1000:.0f} kB" if one.size is not None else ""
        cells = (
            f"`{self.model}`",
            self.toolchain,
            one.precision,
            size,
            score(one),
            time,
            "no" if self.refused else "yes",
        )
        return f"| {' | '.join(cells)} |"


def main() -> None:
    """Prints the table, and why the others are out."""
    logging.disable(logging.CRITICAL)
    reasons: dict[tuple[str, str, str], list[str]] = {}
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder)):
            for name in TOOLCHAIN_NAMES:
                for one in tried(case, Toolchain(name=name, precisions=TOOLCHAINS[name].precisions)):
                    if one.candidate.size is not None:
                        print(one.row, flush=True)
                    if one.refused is not None:
                        key = (one.model, one.toolchain, one.refused)
                        reasons.setdefault(key, []).append(one.candidate.precision)
    for (model, toolchain, refused), out in reasons.items():
        print(f"- `{model}`, {toolchain}, {' and '.join(out)}: {refused}")


def cases(folder: Path) -> Iterator[Case]:
    """Every model with its sets."""
    yield from map(voice_detector, VOICES)
    yield text_detector()
    yield text_reader()
    yield file_kinds(folder)[0]


def tried(case: Case, toolchain: Toolchain) -> Iterator[Tried]:
    """Every candidate of a model."""
    with tempfile.TemporaryDirectory() as name:
        folder, work = Path(name), Path(name) / "work"
        work.mkdir()
        wanted, inputs = asked(
            folder, load_model(case.model), case.calibration, case.evaluation, toolchain=toolchain, output=case.output
        )
        try:
            outcome = climb(wanted, inputs, 0, work, 1)
        except NoCandidate as error:
            for one in error.candidates:
                yield Tried(case.name, toolchain.name, one, refused=one.rejected)
            return
        gates = GATES if case.evaluation is not None else Gates()
        refused = judge(first_report(inputs, outcome), gates).refused
        with contextlib.ExitStack() as stack:
            engines = {"as it came": load_engine("onnxruntime", inputs.model.path, threads=1)}
            for attempt in outcome.finalists:
                bundle = read(work / attempt.candidate.precision / "bundle")[0]
                loaded = load_engine(bundle.engine, bundle.model_path, threads=1, options=bundle.options)
                engines[attempt.candidate.precision] = loaded
            for engine in engines.values():
                stack.callback(engine.close)
            paces = contest(engines, [inputs.golden.feed(0)])
        for one in outcome.candidates:
            pace, why = paces.get(one.precision), refused.get(one.precision, one.rejected)
            yield Tried(case.name, toolchain.name, one, pace, paces["as it came"], why)


def score(one: Candidate) -> str:
    """Accuracy where there are labels, and agreement with the source."""
    words = [f"accuracy {one.accuracy:.3f}"] if one.accuracy is not None else []
    words += [f"agreement {one.agreement:.3f}"] if one.agreement is not None else []
    return ", ".join(words)


if __name__ == "__main__":
    main()
