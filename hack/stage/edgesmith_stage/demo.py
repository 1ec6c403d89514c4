"""`make demo`: from nothing to a checked prediction on every edge node."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edgesmith.api.names import node_label
from edgesmith_stage import kind, marked, surface
from edgesmith_stage.errors import StageError
from edgesmith_stage.ground import DEVICE_LABEL, Ground, cluster, current, kubeconfig_environment, local
from edgesmith_stage.install import install_chart, push_images, uninstall_chart
from edgesmith_stage.kube import Object
from edgesmith_stage.predict import predict, servers
from edgesmith_stage.shell import run
from edgesmith_stage.waiting import until

NAMESPACE = "default"
"""Of the example. It is said everywhere: the context of somebody's kubeconfig may have another."""


@dataclass
class Stages:
    """Says what is being done and remembers how long each part took."""

    took: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Announce a part of the demo and time it."""
        print(f"\n== {what}", flush=True)
        start = time.monotonic()
        yield
        self.took.append((what, time.monotonic() - start))


def demo(where: str) -> None:
    """Run the demo and leave everything running.

    Raises:
        StageError: Something is missing or did not come; one sentence.
    """
    stages = Stages()
    with stages.stage("Cluster, registry and bucket"):
        ground = _ground(where)
    with stages.stage("Images, built and pushed"):
        images = push_images(ground)
    with stages.stage("Edgesmith, installed with Helm"):
        install_chart(ground, images)
    with stages.stage("The model, published to the bucket and applied"):
        surface.publish(ground)
        ground.kube.apply(*map(marked.marked, surface.objects(ground)), namespace=NAMESPACE)
    with stages.stage("Built, gated and rolled out"):
        _follow(ground)
    with stages.stage("One prediction from every edge node"):
        _predictions(ground)
    _summary(ground, stages, where)


def down(where: str) -> None:
    """Remove the demo.

    Raises:
        StageError: Something is missing or could not be removed; one sentence.
    """
    if where == "local":
        cluster("down", "--name", "demo")
    elif where == "kind":
        kind.down()
    else:
        _down_current()


def _down_current() -> None:
    ground = current(os.environ)
    if not marked.claimed(ground.kube):
        print("the demo is not on this cluster")
        return
    print("removing the example, the chart and its namespace; CRDs, images and objects in the bucket stay")
    marked.remove(ground.kube, NAMESPACE)
    until(lambda: not _labelled(ground), seconds=60, what="the operator to take its label off every node")
    uninstall_chart(ground)


def _labelled(ground: Ground) -> list[str]:
    """Nodes that still say which revision of the example they are to run."""
    label = node_label(NAMESPACE, surface.NAME)
    nodes = ground.kube.list("nodes", None)
    return [node["metadata"]["name"] for node in nodes if label in node["metadata"]["labels"]]


def _ground(where: str) -> Ground:
    if where == "kind":
        return kind.up()
    if where == "current":
        ground = current(os.environ)
        nodes = ground.kube.list("nodes", None)
        if not any(DEVICE_LABEL in node["metadata"]["labels"] for node in nodes):
            raise StageError(
                f"no node carries the label {DEVICE_LABEL}; label an edge node first: "
                f"kubectl label node NAME {DEVICE_LABEL}=generic-amd64"
            )
        surface.check_bucket(ground)
        marked.claim(ground.kube, surface.objects(ground), NAMESPACE)
        return ground
    return local("demo", surface.DEVICES)


def _follow(ground: Ground, seconds: float = 600) -> None:
    """Print each change of the EdgeModel's conditions until it is Ready, or stalled."""
    said = ""

    def settled() -> str | None:
        nonlocal said
        model = ground.kube.get("edgemodel", surface.NAME, NAMESPACE) or {}
        conditions = _conditions(model)
        now = conditions.get("Stalled") or conditions.get("Ready")
        line = f"{now['reason']}: {now['message']}" if now else "waiting for the operator"
        if line != said:
            print(f"   {line}", flush=True)
            said = line
        observed = model.get("status", {}).get("observedGeneration") == model.get("metadata", {}).get("generation")
        if not observed or not now or now["status"] != "True":
            return None
        type_: str = now["type"]
        return type_

    if until(settled, seconds=seconds, what=f"EdgeModel {surface.NAME} to become Ready", every=1) == "Stalled":
        raise StageError(f"EdgeModel {surface.NAME} is stalled: {said}")


def _predictions(ground: Ground) -> None:
    inputs, truth = surface.samples(64)
    expected = surface.reference(inputs)
    names = surface.labels()
    wrong = []
    print(f"   {'NODE':<10} {'IMAGE OF THE PART':<20} {'ANSWER':<22} {'EXPECTED':<22} {'64 SAMPLES AS THE SOURCE'}")
    for node, server in sorted(servers(ground.kube, surface.NAME, NAMESPACE).items()):
        answer = predict(ground.kube, server, model=surface.NAME, inputs=inputs, protocol="http", namespace=NAMESPACE)
        mine, theirs = answer.argmax(axis=1), expected.argmax(axis=1)
        agreement = float((mine == theirs).mean())
        shown, meant = (f"{names[k]} ({row[k]:.3f})" for k, row in ((mine[0], answer[0]), (theirs[0], expected[0])))
        print(f"   {node:<10} {names[int(truth[0])]:<20} {shown:<22} {meant:<22} {agreement:.1%}")
        if mine[0] != theirs[0] or agreement < 0.95:
            wrong.append(node)
    if wrong:
        raise StageError(f"{', '.join(wrong)} did not answer as the source model does")


def _summary(ground: Ground, stages: Stages, where: str) -> None:
    print()
    status = [sys.executable, "-m", "edgesmith.cli", "status", surface.NAME, "--namespace", NAMESPACE]
    print(run(status, env=kubeconfig_environment(ground)))
    for what, seconds in stages.took:
        print(f"   {seconds:6.1f} s  {what}")
    print("\nThe cluster is still running. Try next:\n")
    kubectl = f"{ground.kube.kubectl} --kubeconfig {ground.kube.kubeconfig} --namespace {NAMESPACE}"
    print(f"   {kubectl} get edgemodels -w")
    print(f"   {kubectl} port-forward service/{surface.NAME} 8000    and drop a picture on http://localhost:8000\n")
    print(f"and `make down{'' if where == 'local' else f' CLUSTER={where}'}` when you are done.")


def _conditions(model: Object) -> dict[str, Object]:
    return {condition["type"]: condition for condition in model.get("status", {}).get("conditions", [])}
