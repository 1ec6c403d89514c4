"""The pods of a trial: on one node, the self-test of one finalist after the other, in the container that serves it.

Init containers run in turn; the last finalist is the pod's own container, so that nothing is started for nothing. Where
a server holds the device, another pod pulls the finalists beside it first, so that it ends for as short as can be, and
keeps them and its own image on the node.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import COMPONENT_LABEL, PROFILE_LABEL, TRIAL, TRIAL_LABEL, trial_pod_name
from edgesmith.decide.plan import StartTrial
from edgesmith.decide.serving import serving
from edgesmith.decide.settings import Settings
from edgesmith.decide.taints import TOLERATED_BY_ALL
from edgesmith.resources import room
from edgesmith.resources.common import metadata
from edgesmith.resources.daemon_set import SCRATCH, pod_spec
from edgesmith.resources.waiting import pulled, waiting


def trial_pod(model: EdgeModel, start: StartTrial, settings: Settings) -> dict[str, Any]:
    """The pod; its node, resources, volumes and rights are those of the server that would run there.

    One that only pulls has no device, none of the profile's volumes and little memory. Where the finalists are large
    together, it looks first whether the node's disk has room for them all.
    """
    specs = {name: _server_pod(model, start, image, settings) for name, image in start.images.items()}
    tests = [_self_test(name, spec["initContainers"][0]) for name, spec in specs.items()]
    spec = next(iter(specs.values()))
    first = [room.container(start.room, SCRATCH)] if start.room else []
    if start.keeps is None:
        *before, last = tests
    else:
        before, last = [pulled(name, image) for name, image in start.images.items()], waiting(start.keeps)
        scratch = [one for one in spec["volumes"] if one["name"] == room.SCRATCH_VOLUME and first]
        spec = {name: value for name, value in spec.items() if name not in ("volumes", "runtimeClassName")}
        spec |= {"terminationGracePeriodSeconds": 1} | ({"volumes": scratch} if scratch else {})
    labels = {COMPONENT_LABEL: TRIAL, PROFILE_LABEL: start.profile.metadata.name, TRIAL_LABEL: start.trial}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(
            model, trial_pod_name(model.metadata.name, start.trial, start.node, list(start.images)), labels
        ),
        "spec": {
            **spec,
            "restartPolicy": "Never",
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _on(start.node)}},
            "tolerations": [*spec.get("tolerations", ()), *_as_a_daemon()],
            "initContainers": [*first, *before],
            "containers": [last],
        },
    }


def _server_pod(model: EdgeModel, start: StartTrial, image: str, settings: Settings) -> dict[str, Any]:
    """The pod that would serve a finalist; its gates are judged on the hub, so that they can change without a trial."""
    config = serving(model, start.profile, image, settings)
    return pod_spec(replace(config, max_latency_ms=None, max_memory_bytes=None, sampling=None), "")


def _self_test(name: str, container: dict[str, Any]) -> dict[str, Any]:
    # A container that fails would end the pod before the other finalists had their turn.
    return {**container, "name": name, "args": [*container["args"], "--report"]}


def _on(node: str) -> dict[str, Any]:
    fields = [{"key": "metadata.name", "operator": "In", "values": [node]}]
    return {"nodeSelectorTerms": [{"matchFields": fields}]}


def _as_a_daemon() -> list[dict[str, Any]]:
    """What the DaemonSet controller makes servers tolerate: a trial goes wherever one would."""
    return [{"key": key, "operator": "Exists"} for key in sorted(TOLERATED_BY_ALL)]
