"""`make scale`: a fleet of thousands of nodes on the real control plane, one node in ten off and one in fifty failing.

    python bench/scale.py --size 1000x1 [--size 5000x20 …]     measures and writes bench/scale.json
    python bench/scale.py --table                              prints the table of docs/benchmarks.md from it

Every node serves a first revision of every EdgeModel; then one node in ten loses its power, and a second revision of
all EdgeModels is applied at once. Beside it, in the same run, the same servers as bare DaemonSets with the same
maxUnavailable. A bare DaemonSet counts nodes that are off or fail against its maxUnavailable and stops there, so it
gets the nodes that can serve alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "tests" / name) for name in ("api", "services")]

from apiserver import OPERATOR, ApiServer, Object, wait_for  # noqa: E402 - found by the lines above
from build_outcomes import push_build  # noqa: E402
from kept_operator import Kept, p99, pass_seconds  # noqa: E402
from operator_process import Operator, registry  # noqa: E402
from processor import processor  # noqa: E402
from scale_fleet import DEVICE, NAMESPACE, PROFILE, SOUND, Fleet, Size, fleet  # noqa: E402
from scale_results import Measured, table  # noqa: E402

from edgesmith.api.deviceprofile import DeviceProfile  # noqa: E402
from edgesmith.api.edgemodel import EdgeModel  # noqa: E402
from edgesmith.cluster.configuration import settings_from  # noqa: E402
from edgesmith.decide.builds import build_for  # noqa: E402
from edgesmith_cluster.catalogue import kwok  # noqa: E402
from edgesmith_cluster.console import Console  # noqa: E402
from edgesmith_cluster.tools import ensure  # noqa: E402

RESULTS = Path(__file__).with_name("scale.json")
SIZES = ("1000x1", "1000x20", "5000x1", "5000x20")
MAX_UNAVAILABLE = "10%"
ROLLOUT = {
    "steps": [{"nodes": 1, "bake": "0s"}],
    "maxUnavailable": MAX_UNAVAILABLE,
    "maxFailed": "5%",
    "progressDeadline": "1h",
}
_HOURS = 2.0
"""After which a rollout is given up."""


def edge_model(number: int, revision: int, *, paused: bool = False) -> Object:
    """One EdgeModel, at one of its two revisions."""
    return {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "EdgeModel",
        "metadata": {"name": f"m{number:02}", "namespace": NAMESPACE},
        "spec": {
            "source": {"uri": f"s3://models/m{number}/model.onnx", "sha256": f"{revision}{number:063}"},
            "deviceProfiles": {"names": [PROFILE]},
            "rollout": {**ROLLOUT, "paused": paused},
        },
    }


def device_profile() -> Object:
    """The only one."""
    return {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "DeviceProfile",
        "metadata": {"name": PROFILE},
        "spec": {"nodeSelector": {DEVICE: PROFILE}, "platform": {"architecture": "amd64"}},
    }


def measure(size: Size, programs: Path) -> Measured:
    """Roll two revisions out over a fleet, by Edgesmith and by bare DaemonSets."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="edgesmith-scale-") as name, registry(programs, Path(name)) as address:
        folder = Path(name)
        # Known before there is a server: what decides the builds is the operator's environment.
        nobody = Operator(
            ApiServer("https://127.0.0.1:1", folder, programs), NAMESPACE, address, folder / "operator.log"
        )
        images = asyncio.run(_push(nobody, size))
        builds = {key: image for pushed in images.values() for key, image in pushed.items()}
        with fleet(folder, programs, size, builds, images[1].values()) as grown:
            operator = Operator(grown.server, NAMESPACE, address, folder / "operator.log", token=OPERATOR)
            try:
                ours = _edgesmith(grown, operator)
            finally:
                if operator.process is not None:
                    operator.end(signal.SIGKILL)
            # Bare may take as long again, and what is known by now should not be lost with it.
            print(f"{size.nodes} x {size.models}, before the same is done bare: {json.dumps(ours)}", flush=True)
            bare = _bare(grown)
    return Measured(size.nodes, size.models, **ours, **bare, load=round(load, 1))


async def _push(operator: Operator, size: Size) -> dict[int, dict[str, str]]:
    """Push both revisions' builds of every EdgeModel: revision to build key to image."""
    settings = settings_from(operator.environment())
    profile = DeviceProfile.model_validate(device_profile())
    found: dict[int, dict[str, str]] = {1: {}, 2: {}}
    for revision, images in found.items():
        for number in range(size.models):
            model = EdgeModel.model_validate(edge_model(number, revision))
            key = build_for(model, profile, settings).key
            images[key] = await push_build(operator.registry, NAMESPACE, key)
    return found


def _edgesmith(grown: Fleet, operator: Operator) -> dict[str, Any]:
    server, size = grown.server, grown.size
    server.apply(device_profile())
    kept = Kept(operator)
    wait_for("the operator is ready", lambda: operator.ask("/readyz")[0] == 200, 600)
    start = time.monotonic()
    server.apply([edge_model(number, 1) for number in range(size.models)])
    _until(kept, size, size.nodes)
    first = time.monotonic() - start
    grown.cut_power()
    away = len(size.offline)
    _settle(kept, away)
    server.apply([edge_model(number, 2, paused=True) for number in range(size.models)])
    wait_for("the second revision is built", lambda: _all_built(kept), 600)
    _, place = grown.writes()
    passes = pass_seconds(operator)
    start = time.monotonic()
    server.apply([edge_model(number, 2) for number in range(size.models)])
    _until(kept, size, len(size.sound), revision=2)
    seconds = time.monotonic() - start
    words, _ = grown.writes(place)
    moved = (size.nodes - away) * size.models
    status = max(len(json.dumps(model["status"])) for model in server.items("edgemodels", NAMESPACE))
    return {
        "first_seconds": round(first, 1),
        "seconds": round(seconds, 1),
        "node_writes": round(sum(word.endswith(" nodes") for word in words) / moved, 2),
        "writes": round(len(words) / moved, 2),
        "cpu_seconds": round(kept.cpu_seconds, 1),
        "peak_megabytes": round(kept.peak_megabytes, 1),
        "restarts": kept.restarts,
        "pass_p99_milliseconds": round(1000 * p99(passes, pass_seconds(operator)), 1),
        "status_bytes": status,
    }


def _until(kept: Kept, size: Size, nodes: int, *, revision: int = 1) -> None:
    """Wait until every EdgeModel serves a revision on as many nodes as can serve it."""

    def check() -> bool:
        kept.look()
        models = kept.operator.server.items("edgemodels", NAMESPACE)
        return len(models) == size.models and all(_serves(model, nodes, revision) for model in models)

    wait_for(f"revision {revision} on {nodes} nodes", check, _HOURS * 3600)


def _all_built(kept: Kept) -> bool:
    kept.look()
    return all(map(_built, kept.operator.server.items("edgemodels", NAMESPACE)))


def _built(model: Object) -> bool:
    status = model["status"]
    ready = {one["type"]: one["status"] for one in status["conditions"]}["BuildsReady"] == "True"
    return bool(ready and status["observedGeneration"] == model["metadata"]["generation"])


def _serves(model: Object, nodes: int, revision: int) -> bool:
    status = model.get("status") or {}
    if (
        status.get("observedGeneration") != model["metadata"]["generation"]
        or model["metadata"]["generation"] < revision
    ):
        return False
    counts = status.get("nodes") or {}
    return bool(counts.get("updated", 0) >= nodes and counts.get("ready", 0) >= nodes)


def _settle(kept: Kept, away: int) -> None:
    """Wait until every EdgeModel has counted the nodes that are off."""

    def check() -> bool:
        kept.look()
        models = kept.operator.server.items("edgemodels", NAMESPACE)
        return all(model["status"]["nodes"]["notReady"] == away for model in models)

    wait_for(f"{away} nodes are counted as NotReady", check, 600)


def _bare(grown: Fleet) -> dict[str, Any]:
    """The same servers as DaemonSets, on the nodes that can serve."""
    server, size = grown.server, grown.size
    for model in server.items("edgemodels", NAMESPACE):
        server.patch("edgemodels", model["metadata"]["name"], {"metadata": {"finalizers": []}}, NAMESPACE)
        server.delete("edgemodels", model["metadata"]["name"], NAMESPACE)
    for found in server.items("daemonsets", NAMESPACE):
        server.delete("daemonsets", found["metadata"]["name"], NAMESPACE)
    # The collector of what has no owner would take one after the other.
    server.delete_all("pods", NAMESPACE)
    wait_for("the pods are gone", lambda: not server.items("pods", NAMESPACE), 3600)
    took = []
    for revision in (1, 2):
        start = time.monotonic()
        server.apply([_daemon_set(number, revision) for number in range(size.models)])
        wait_for(f"bare revision {revision}", lambda: _rolled(server, size), _HOURS * 3600)
        took.append(round(time.monotonic() - start, 1))
    return {"bare_first_seconds": took[0], "bare_seconds": took[1]}


def _rolled(server: ApiServer, size: Size) -> bool:
    sets, wanted = server.items("daemonsets", NAMESPACE, "app=bare"), len(size.sound)
    return len(sets) == size.models and all(
        one["status"].get("observedGeneration") == one["metadata"]["generation"]
        and one["status"].get("updatedNumberScheduled", 0) == wanted
        and one["status"].get("numberAvailable", 0) == wanted
        for one in sets
    )


def _daemon_set(number: int, revision: int) -> Object:
    name = f"bare{number:02}"
    image, labels = f"none.example/bare:{revision}", {"app": "bare", "bare": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": MAX_UNAVAILABLE}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "nodeSelector": {SOUND: "true"},
                    "automountServiceAccountToken": False,
                    "initContainers": [{"name": "selftest", "image": image}],
                    "containers": [{"name": "server", "image": image}],
                },
            },
        },
    }


def main() -> int:
    """Measure the sizes asked for; a size that was measured before is replaced."""
    parser = argparse.ArgumentParser(prog="scale", description="Measure rollouts over fleets that KWOK plays.")
    parser.add_argument("--size", action="append", help=f"NODESxMODELS; {', '.join(SIZES)} where absent")
    parser.add_argument(
        "--table", action="store_true", help="print the table from bench/scale.json, and measure nothing"
    )
    found = parser.parse_args()
    known = {(row["nodes"], row["models"]): row for row in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    if not found.table:
        print(f"on {processor()}", flush=True)
        programs = ensure(Console(), kwok())
        for text in found.size or SIZES:
            nodes, _, models = text.partition("x")
            one = asdict(measure(Size(int(nodes), int(models)), programs))
            known[(one["nodes"], one["models"])] = one
            RESULTS.write_text(json.dumps([known[key] for key in sorted(known)], indent=1) + "\n")
    print(table([known[key] for key in sorted(known)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
