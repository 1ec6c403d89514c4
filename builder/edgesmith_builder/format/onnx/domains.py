"""The domains whose operators a model has: it names those and no others."""

from __future__ import annotations

import onnx

from edgesmith_builder.format.onnx.nesting import subgraphs

STANDARD = ("", "ai.onnx")
"""Both names of the domain of ONNX's own operators."""


def import_used(model: onnx.ModelProto) -> None:
    """Import what a model's nodes are of, in place: what is missing in version 1, as ONNX Runtime's own domains are.

    ONNX's tools do not know ONNX Runtime's domains unasked. ONNX Runtime writes all domains that it knows into a model
    that it optimised, in their newest versions, and an older one refuses those that it does not have.
    """
    used = {node.domain for graph in subgraphs(model.graph) for node in graph.node} - set(STANDARD)
    imports = [one for one in model.opset_import if one.domain in STANDARD or one.domain in used]
    missing = used - {one.domain for one in imports}
    imports += [onnx.helper.make_opsetid(domain, 1) for domain in sorted(missing)]
    del model.opset_import[:]
    model.opset_import.extend(imports)
