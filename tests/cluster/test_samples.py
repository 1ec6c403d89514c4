"""A node without its line answers everything and keeps samples; they go to the bucket, each once, when it is back.

`make test-all` cuts it for ten minutes (`EDGESMITH_CUT_SECONDS`); half a minute is long enough to be NotReady.
"""

from __future__ import annotations

import io
import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.minioadmin import MinioAdmin

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.load import Load
from edgesmith_stage.waiting import until

CUT_SECONDS = float(os.environ.get("EDGESMITH_CUT_SECONDS", "30"))

pytestmark = [pytest.mark.timeout(600 + CUT_SECONDS), pytest.mark.lent]

NAME, STORE, BUCKET = "sampled-parts", "sample-store", "samples"
FAR = "edge-2"
EVERY_SECONDS = 0.05 if CUT_SECONDS < 60 else 0.2
"""Between a node's requests: a longer cut needs no more of them, and other tests run beside it."""
ANSWER_SECONDS = 10.0
"""Until a request counts as lost: other tests have the cores, and a pod gets what they leave."""
RETURN_SECONDS = 45.0 if CUT_SECONDS < 60 else 75.0
"""Without an answer when the line is back, at most. In a longer cut the kubelet finds out that its watches have ended,
and asks for new ones less and less often, up to a minute apart (client-go's reflector: 30 s, and as much again by
chance); before that it does not know that its pods were called unready."""
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [f"arn:aws:s3:::{BUCKET}/edge/${{aws:username}}/*"]}
    ],
}


def test_a_node_without_its_line_answers_and_sends_what_it_kept(fleet: Fleet, tmp_path: Path) -> None:
    client = _bucket(fleet, tmp_path)
    feedback: dict[str, Any] = {
        "privacy": "Samples",
        "bucket": {"uri": f"s3://{BUCKET}/edge", "secretRef": {"name": STORE}},
        "sample": {"bytesPerDay": "2G", "diskBytes": "64M"},
    }
    fleet.apply(fleet.manifest(NAME, fleet.publish("1"), feedback=feedback))
    fleet.wait_settled(NAME, 300)
    nodes, pods = sorted(fleet.servers(NAME)), fleet.pods(NAME)
    assert set(nodes) == set(surface.EDGES)

    with Load(fleet, NAME, nodes, tmp_path / "load", every=EVERY_SECONDS, patience=ANSWER_SECONDS) as load:
        for node in nodes:
            until(partial(_sent, client, fleet, node), seconds=90, what=f"a sample of {node} in the bucket")
        fleet.cut(FAR)
        began = time.time()
        until(lambda: FAR in fleet.not_ready(), seconds=60, what=f"{FAR} to be NotReady")
        # What was under way when the line was cut has been stored by now.
        before, over = _sent(client, fleet, FAR), max(began + CUT_SECONDS, time.time() + 10)
        until(lambda: time.time() > over, seconds=CUT_SECONDS + 15, what="the time of the cut to pass")
        assert _sent(client, fleet, FAR) == before, "nothing came through"
        ended = time.time()
        fleet.heal(FAR)
        kept = until(
            lambda: _taken_between(client, fleet, before, began + 2, ended - 2) or None,
            seconds=90,
            what=f"samples of {FAR} that were taken without its line",
        )
        until(lambda: _waiting(fleet, FAR) <= 2, seconds=120, what="the spool to drain")
    until(
        lambda: _missing(client, fleet, FAR) <= 0, seconds=120, what="all in the bucket that was kept and not dropped"
    )
    answers = load.answers()
    for node in nodes:
        lost = load.lost_before(node, ended) if node == FAR else answers[node].lost
        assert not lost, f"{node} lost {lost[:3]}"
    # Where pods of a NotReady node stay out of their Services until its kubelet has spoken of them: every ten seconds.
    assert answers[FAR].longest < RETURN_SECONDS
    assert fleet.pods(NAME) == pods, "no server was touched for it"
    assert kept
    sent = client.list_objects(BUCKET, prefix="edge/", recursive=True)
    assert not [one for one in sent if not one.object_name.endswith(".npz")]


def _bucket(fleet: Fleet, folder: Path) -> Minio:
    """A bucket where each node may write under its own name, and the Secret with the nodes' keys."""
    store = fleet.ground.bucket
    address = urlsplit(store.endpoint).netloc
    client = Minio(endpoint=address, access_key=store.access_key, secret_key=store.secret_key, secure=False)
    if not client.bucket_exists(bucket_name=BUCKET):
        client.make_bucket(bucket_name=BUCKET)
    admin = MinioAdmin(endpoint=address, credentials=StaticProvider(store.access_key, store.secret_key), secure=False)
    (folder / "policy.json").write_text(json.dumps(POLICY))
    admin.policy_add("edge-nodes", str(folder / "policy.json"))
    keys = {}
    for node in fleet.ground.edges:
        admin.user_add(node, f"secret-of-{node}")
        admin.policy_set("edge-nodes", user=node)
        keys[node] = f"AWS_ACCESS_KEY_ID={node}\nAWS_SECRET_ACCESS_KEY=secret-of-{node}\n"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": STORE},
        "stringData": {"AWS_ENDPOINT_URL": store.endpoint, "AWS_REGION": store.region, **keys},
    }
    fleet.ground.kube.apply(secret, namespace=fleet.namespace)
    return client


def _sent(client: Minio, fleet: Fleet, node: str) -> set[str]:
    """The keys of a node's objects in the bucket."""
    prefix = f"edge/{node}/{fleet.namespace}/{NAME}/"
    return {str(one.object_name) for one in client.list_objects(bucket_name=BUCKET, prefix=prefix, recursive=True)}


def _taken_between(client: Minio, fleet: Fleet, known: set[str], began: float, ended: float) -> list[float]:
    """When samples of the far node were taken that were not known before, between two moments."""
    found = []
    for key in _sent(client, fleet, FAR) - known:
        with client.get_object(bucket_name=BUCKET, object_name=key) as answer:
            content = np.load(io.BytesIO(answer.read()), allow_pickle=False)
        told = json.loads(content["sample"].tobytes())
        assert told["node"] == FAR
        if began < told["time"] < ended:
            found.append(float(told["time"]))
    return found


def _waiting(fleet: Fleet, node: str) -> int:
    """How many samples wait on a node."""
    return _count(_page(fleet, node), "edgesmith_spool_objects ")


def _missing(client: Minio, fleet: Fleet, node: str) -> int:
    """How many samples of a node were kept, and neither dropped for others nor stored in the bucket."""
    page = _page(fleet, node)  # before the bucket is looked at: what is kept meanwhile is asked for the next time
    kept = sum(_count(page, f'edgesmith_samples_total{{outcome="{why}"}} ') for why in ("uncertain", "novel", "random"))
    return kept - _count(page, "edgesmith_samples_dropped_total ") - len(_sent(client, fleet, node))


def _page(fleet: Fleet, node: str) -> str:
    """What a node's server says of itself."""
    pod = fleet.servers(NAME)[node].pod
    return str(fleet.ground.kube("get", "--raw", f"/api/v1/namespaces/{fleet.namespace}/pods/{pod}:8000/proxy/metrics"))


def _count(page: str, beginning: str) -> int:
    line = next(line for line in page.splitlines() if line.startswith(beginning))
    return int(float(line.split()[1]))
