"""Profiles that nothing can be built or served for, against a real API server: each EdgeModel says so once."""

from __future__ import annotations

from apiserver import ApiServer
from operator_process import Operator, device_profile, edge_model, wait_condition

from edgesmith_builder.contract import TOOLCHAINS


def test_a_builder_and_an_engine_without_an_image_are_named(
    server: ApiServer, namespace: str, operator: Operator
) -> None:
    """The operator's only image is the one of ONNX Runtime."""
    refused = {name: facts for name, facts in TOOLCHAINS.items() if facts.engine != "onnxruntime"}
    assert {"OpenVINO", "LiteRT"} <= set(refused)
    for toolchain in refused:
        name = f"{namespace}-{toolchain.lower()}"
        profile = device_profile(name)
        profile["spec"]["toolchain"] = {"name": toolchain}
        server.apply([profile, edge_model(toolchain.lower(), namespace, deviceProfiles={"names": [name]})])
    operator.start()
    for toolchain, facts in refused.items():
        reason, says = "RuntimeImageNotSet", f"image.runtime.{facts.engine}"
        if facts.builder:
            reason, says = "BuilderImageNotSet", f"image.builders.{facts.builder}"
        elif facts.compiler:
            reason, says = "CompilerNotSet", "spec.toolchain.compilerImage was expected"
        stalled = wait_condition(server, namespace, toolchain.lower(), "Stalled", reason)
        assert says in stalled["message"]
        assert f"DeviceProfile '{namespace}-{toolchain.lower()}'" in stalled["message"]
    operator.wait_idle()
    assert server.items("jobs", namespace) == []
    assert operator.end() == 0
