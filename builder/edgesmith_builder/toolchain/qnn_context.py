"""Compiles an ONNX model into a context binary for one Hexagon: a program of its own, run by `qnn.py`.

A process compiles once: QNN counts its graphs over the life of a process and writes the count into the binary. The
model is read before ONNX Runtime has it, which would name the graph by the file's path; so the same model gives the
same bytes, wherever it lies.

Usage: python -m edgesmith_builder.toolchain.qnn_context SOURCE TARGET SOC_MODEL
"""

from __future__ import annotations

import sys
from pathlib import Path

from edgesmith_runtime.engine.qnn import htp_options

# isort: split
import onnxruntime as ort

_ERRORS = 3
"""ONNX Runtime's severity from which on it tells, which nodes the provider refused among it."""
_MOST_OPTIMAL = "3"


def main(arguments: list[str]) -> int:
    """Compile; what goes wrong is on standard error."""
    source, target, soc_model = arguments
    options = htp_options(1, {"soc_model": soc_model, "htp_graph_finalization_optimization_mode": _MOST_OPTIMAL})
    options.log_severity_level = _ERRORS
    for name, value in (("enable", "1"), ("embed_mode", "1"), ("file_path", target)):
        options.add_session_config_entry(f"ep.context_{name}", value)
    ort.disable_telemetry_events()
    ort.set_default_logger_severity(_ERRORS)
    ort.InferenceSession(Path(source).read_bytes(), options)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
