"""Compiles an ONNX model into a context binary for one Hexagon: a program of its own, run by `qnn.py`.

A process compiles once: QNN counts its graphs over the life of a process and writes the count into the binary. The
model is read before ONNX Runtime has it, which would name the graph by the file's path; so the same model gives the
same bytes, wherever it lies.

Usage: python -m edgesmith_builder.toolchain.qnn_context SOURCE TARGET SOC_MODEL
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edgesmith_runtime.engine.qnn import htp_options

# isort: split
import onnxruntime as ort

REFUSED = "refused: "
"""Before the nodes that the Hexagon does not run, on standard error: pairs of operator and name, as JSON."""

_ERRORS = 3
"""ONNX Runtime's severity from which on it tells, which nodes the provider refused among it."""
_MOST_OPTIMAL = "3"


def main(arguments: list[str]) -> int:
    """Compile; what goes wrong is on standard error."""
    source, target, soc_model = arguments
    model = Path(source).read_bytes()
    ort.disable_telemetry_events()
    ort.set_default_logger_severity(_ERRORS)
    options = _options(soc_model)
    for name, value in (("enable", "1"), ("embed_mode", "1"), ("file_path", target)):
        options.add_session_config_entry(f"ep.context_{name}", value)
    try:
        ort.InferenceSession(model, options)
    # ONNX Runtime's own errors share no base class of their own.
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        _tell(model, soc_model)
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _options(soc_model: str) -> Any:
    options = htp_options(1, {"soc_model": soc_model, "htp_graph_finalization_optimization_mode": _MOST_OPTIMAL})
    options.log_severity_level = _ERRORS
    return options


def _tell(model: bytes, soc_model: str) -> None:
    """Say which nodes ONNX Runtime would give to the processor, if it might."""
    options = _options(soc_model)
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        parts = ort.InferenceSession(model, options).get_provider_graph_assignment_info()
    except Exception:  # noqa: BLE001 - it does not load that way either, and the first error says why
        return
    nodes = [(node.op_type, node.name) for part in parts if "CPU" in part.ep_name for node in part.get_nodes()]
    sys.stderr.write(f"{REFUSED}{json.dumps(nodes)}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
