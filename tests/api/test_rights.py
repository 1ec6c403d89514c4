"""The operator with the rights that the chart gives it, and no others: the whole way, and never a refusal."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import yaml
from apiserver import OPERATOR, ApiServer, wait_for
from build_outcomes import fail_build, finish_build, push_build
from kubelets import Kubelets
from needs import lacking
from operator_process import DIGEST, Operator, device_profile, edge_model, registry, wait_condition

from edgesmith.api.names import BUILD_KEY_LABEL

CHART = Path(__file__).resolve().parents[2] / "charts/edgesmith"
NAMESPACE = "edgesmith-system"


def roles(programs: Path) -> list[dict[str, object]]:
    """The chart's roles and bindings, as Helm renders them."""
    helm = shutil.which("helm") or str(programs / "helm")
    if not Path(helm).exists():
        lacking("helm is neither on PATH nor among the local cluster's tools: run `make tools`")
    images = [f"image.{part}=r:5000/edgesmith/any@{DIGEST}" for part in ("operator", "builder", "runtime.onnxruntime")]
    settings = [word for one in [*images, "registry.repository=r:5000/models"] for word in ("--set", one)]
    line = [helm, "template", "edgesmith", str(CHART), "--namespace", NAMESPACE, *settings]
    text = subprocess.run(line, check=True, capture_output=True, text=True, timeout=60).stdout
    objects = [found for found in yaml.safe_load_all(text) if found]
    hooks = [found for found in objects if "helm.sh/hook" in found["metadata"].get("annotations", {})]
    return [found for found in objects if found["apiVersion"].startswith("rbac.") and found not in hooks]


async def test_the_charts_rights_are_enough(
    server: ApiServer, namespace: str, kubelets: Kubelets, tmp_path: Path
) -> None:
    found = roles(server.programs)
    if server.get("namespaces", NAMESPACE) is None:
        server.kubectl("create", "namespace", NAMESPACE)
    server.apply(found)
    node, profile = f"{namespace}-1", f"{namespace}-device"
    kubelets.add(node, profile)
    broken = edge_model("broken", namespace, source={"uri": "s3://models/broken/1/model.onnx", "sha256": "b" * 64})
    server.apply([device_profile(profile), edge_model("parts", namespace), broken])
    with registry(server.programs, tmp_path) as images:
        operator = Operator(server, NAMESPACE, images, tmp_path / "operator.log", token=OPERATOR, flags=())
        operator.start()
        try:
            wait_for("two Jobs", lambda: len(server.items("jobs", namespace)) == 2)
            for job in server.items("jobs", namespace):
                model = job["metadata"]["labels"]["edgesmith.dev/model"]
                if model == "parts":
                    key = job["metadata"]["labels"][BUILD_KEY_LABEL]
                    finish_build(server, job, await push_build(images, namespace, key))
                else:
                    fail_build(server, job, None)
            wait_condition(server, namespace, "parts", "Ready", "Succeeded", seconds=60)
            server.delete("edgemodels", "parts", namespace)
            wait_for("the label is swept", lambda: operator.number("edgesmith_labels_swept_total") == 1)
            assert operator.end() == 0
        finally:
            if operator.process:
                operator.end(signal.SIGKILL)
            server.delete("edgemodels", "broken", namespace)
        log = operator.log.read_text()
        assert "forbidden" not in log.lower()
        assert "cannot" not in log
