"""What the API server makes of our CRDs: defaults, refusals and their sentences."""

from __future__ import annotations

from typing import Any

import pytest
from apiserver import ApiServer, Object
from operator_process import device_profile, edge_model

SET = {"uri": "s3://models/evaluation.npz"}
JUDGED = {"traffic": {"maxErrorRate": "5%", "minRequests": 50, "period": "1h"}, "replayInterval": "10m"}
"""What servers are held to while they serve, where nobody says otherwise."""
OTHER = {"name": "gru", "source": {"uri": "s3://models/gru.onnx", "sha256": "1" * 64}}


def test_defaults_appear(server: ApiServer, namespace: str) -> None:
    server.apply(edge_model("parts", namespace, rollout={}))
    model = server.get("edgemodels", "parts", namespace)
    assert model is not None
    assert model["spec"]["rollout"] == {
        "steps": [{"nodes": 1, "bake": "2m"}, {"nodes": "5%", "bake": "5m"}, {"nodes": "25%", "bake": "5m"}],
        "maxUnavailable": "10%",
        "maxFailed": "5%",
        "progressDeadline": "10m",
        "strategy": "Surge",
        "holdPrevious": True,
        "jitter": "0s",
        "priority": 0,
        "paused": False,
    }
    assert model["spec"]["gates"] == JUDGED
    assert model["spec"]["serving"] == {"port": 8000, "grpcPort": 8001, "maxBatch": 8}


def test_fractions_are_strings_and_sizes_are_strings_or_numbers(server: ApiServer, namespace: str) -> None:
    gates = {"maxAccuracyDrop": "0.5%", "minAccuracy": "0.93", "maxMemory": 2**29, "maxImageSize": "500Mi"}
    evaluation = {"uri": "s3://models/parts/evaluation.npz"}
    server.apply(edge_model("parts", namespace, gates=gates, evaluation=evaluation))
    model = server.get("edgemodels", "parts", namespace)
    assert model is not None
    assert model["spec"]["gates"] == gates | JUDGED
    assert model["spec"]["evaluation"]["metric"] == "Accuracy"


def test_the_short_name_and_the_columns_work(server: ApiServer, namespace: str) -> None:
    server.apply(edge_model("parts", namespace))
    assert "parts" in server.kubectl("get", "em", "-n", namespace)
    assert "fraction" in server.kubectl("explain", "edgemodel.spec.gates")


LABELS: Object = {"classification": {}}


def test_a_picture_has_defaults_where_there_is_one(server: ApiServer, namespace: str) -> None:
    server.apply(edge_model("plain", namespace))
    server.apply(edge_model("parts", namespace, picture={"scale": "1/255", **LABELS}))
    server.apply(edge_model("boxes", namespace, picture={"detection": {"scoreThreshold": "40%"}}))
    plain, labels, boxes = (server.get("edgemodels", name, namespace) for name in ("plain", "parts", "boxes"))
    assert plain is not None
    assert labels is not None
    assert boxes is not None
    assert "picture" not in plain["spec"]
    usual = {"resize": "Stretch", "interpolation": "Bilinear", "fill": 114, "mean": ["0"], "deviation": ["1"]}
    scores = {"activation": "None", "scale": "1", "topK": 5}
    assert labels["spec"]["picture"] == {"scale": "1/255", "classification": scores, **usual}
    assert "classification" not in boxes["spec"]["picture"]
    assert boxes["spec"]["picture"]["detection"] == {
        "activation": "None",
        "background": False,
        "form": "Corners",
        "iouThreshold": "45%",
        "maxBoxes": 100,
        "objectness": False,
        "order": "BoxesFirst",
        "scoreThreshold": "40%",
        "suppression": "PerClass",
        "unit": "Pixels",
    }


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        ({}, "give exactly one of classification and detection"),
        ({"detection": {}, **LABELS}, "give exactly one of classification and detection"),
        ({"shorterSide": 256, **LABELS}, "shorterSide is for resize Crop alone"),
        ({"scale": "1/0", **LABELS}, "must be a number, or one over another, as a string: 1/255, say"),
        ({"scale": "0.0", **LABELS}, "must be more than 0"),
        ({"mean": ["0.4", "x", "0.4"], **LABELS}, "must be a number as a string: 123.675, say"),
        ({"mean": ["0.4", "0.4"], **LABELS}, "must be one number, or three for three channels"),
        ({"deviation": ["0.4", "0.4"], **LABELS}, "must be one number, or three for three channels"),
        ({"deviation": ["0.4", "0.0", "0.4"], **LABELS}, "must not be 0: it divides"),
        ({"mean": ["1"] * 4, **LABELS}, "must have at most 3 items"),
        ({"resize": "Squash", **LABELS}, "Unsupported value"),
        ({"detection": {"classes": "c"}}, "classes needs the output with the scores beside it: give scores"),
        (
            {"detection": {"classes": "c", "scores": "s", "objectness": True}},
            "objectness is for scores of classes: give classes or objectness",
        ),
        (
            {"detection": {"classes": "c", "scores": "s", "activation": "Softmax"}},
            "Softmax is for a score of each class: give activation Sigmoid or None beside classes",
        ),
        ({"detection": {"iouThreshold": "2"}}, "must be a fraction from 0 to 1"),
    ],
)
def test_a_wrong_picture_is_refused_by_name(server: ApiServer, namespace: str, picture: Object, says: str) -> None:
    document = edge_model("parts", namespace, picture=picture)
    refusal = server.refusal(document)["message"]
    assert "spec.picture" in refusal
    assert says in refusal


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param({"deviceProfiles": {}}, "spec.deviceProfiles", id="neither-names-nor-selector"),
        pytest.param(
            {"deviceProfiles": {"names": ["a"], "selector": {"matchLabels": {"a": "b"}}}},
            "spec.deviceProfiles",
            id="names-and-selector",
        ),
        pytest.param({"deviceProfiles": {"names": ["a", "a"]}}, "spec.deviceProfiles.names", id="a-name-twice"),
        pytest.param({"source": {"uri": "http://x/y", "sha256": "0" * 64}}, "spec.source.uri", id="not-s3"),
        pytest.param({"source": {"uri": "s3://models/x", "sha256": "abc"}}, "spec.source.sha256", id="short-digest"),
        pytest.param({"feedback": {"privacy": "Samples"}}, "privacy Samples needs bucket", id="samples-for-nowhere"),
        pytest.param(
            {"feedback": {"retraining": {"job": {"image": "train"}}}},
            "retraining needs servers that watch for drift",
            id="retraining-without-drift",
        ),
        pytest.param(
            {"feedback": {"privacy": "Statistics", "retraining": {"minNodes": 2}}},
            "retraining needs event, job or both",
            id="retraining-by-nothing",
        ),
        pytest.param(
            {"feedback": {"privacy": "Statistics", "retraining": {"event": {"uri": "ftp://x/y"}}}},
            "must be https://HOST/PATH",
            id="an-event-over-ftp",
        ),
        pytest.param(
            {"feedback": {"bucket": {"uri": "s3://samples/a b", "secretRef": {"name": "a"}}}},
            "must be s3://BUCKET/PREFIX",
            id="no-prefix",
        ),
        pytest.param(
            {"feedback": {"sample": {"redact": {"rules": [{"tensor": "x", "action": "Mask", "width": 3}]}}}},
            "action Mask needs height and width",
            id="half-a-rectangle",
        ),
        pytest.param(
            {"feedback": {"sample": {"redact": {"rules": [{"tensor": "x", "action": "Coarsen"}]}}}},
            "action Coarsen needs block",
            id="no-block",
        ),
        pytest.param({"gates": {"maxAccuracyDrop": "10%"}}, "need an evaluation set", id="gate-without-evaluation"),
        pytest.param({"gates": {"minAccuracy": 0.1}}, "spec.gates.minAccuracy", id="fraction-as-a-number"),
        pytest.param({"gates": {"minAccuracy": "101%"}}, "must be a fraction from 0 to 1", id="fraction-above-1"),
        *[
            pytest.param({"source": {"uri": uri, "sha256": "0" * 64}}, "spec.source.uri", id=uri)
            for uri in (
                "http://h/m.onnx",
                "https://user:word@h/m.onnx",
                "oci://r/models/m",
                "ftp://h/m",
                "https://h",
                "https://h/m#a",
            )
        ],
        pytest.param({"evaluation": SET | {"metric": "Loss"}}, "spec.evaluation.metric", id="no-such-metric"),
        pytest.param({"evaluation": SET | {"topK": 3}}, "topK is for the metric TopK alone", id="k-of-nothing"),
        pytest.param({"source": {"uri": "s3://models/a", "bytes": 7}}, "give sha256, or remove", id="bytes-of-nothing"),
        pytest.param(
            {"compiled": [{"toolchain": "EdgeTPU", "uri": "s3://models/a", "bytes": 7}]},
            "give sha256, or remove",
            id="bytes-of-nothing-compiled",
        ),
        pytest.param({"source": SET | {"bytes": 0}}, "spec.source.bytes", id="no-bytes"),
        pytest.param({"optimize": {"pruning": {"ratio": "30%"}}}, "give calibration", id="pruning-by-nothing"),
        pytest.param(
            {"calibration": SET, "optimize": {"pruning": {"ratio": "0%"}}}, "pruning.ratio", id="nothing-pruned"
        ),
        pytest.param(
            {"calibration": SET, "optimize": {"pruning": {"ratio": "100%"}}}, "pruning.ratio", id="all-pruned"
        ),
        pytest.param({"gates": {"maxError": "0.5"}}, "need an evaluation set", id="an-error-of-nothing"),
        pytest.param(
            {"optimize": {"alternatives": [OTHER], "objective": "Accuracy"}},
            "optimize.alternatives need an evaluation set",
            id="alternatives-without-evaluation",
        ),
        pytest.param(
            {"optimize": {"alternatives": [OTHER]}, "evaluation": SET},
            "would win however bad it is",
            id="alternatives-without-gates",
        ),
        pytest.param(
            {"optimize": {"alternatives": [OTHER, OTHER]}, "evaluation": SET},
            "duplicate entries for key",
            id="an-alternative-twice",
        ),
        pytest.param(
            {"optimize": {"alternatives": [OTHER | {"name": "source"}]}, "evaluation": SET},
            "'source' is what spec.source is called",
            id="an-alternative-called-source",
        ),
        pytest.param(
            {"evaluation": SET, "gates": {"maxError": "0.5"}}, "give gates.minAccuracy", id="an-error-of-accuracy"
        ),
        pytest.param(
            {"evaluation": SET | {"metric": "MAE"}, "gates": {"minAccuracy": "90%"}},
            "give gates.maxError",
            id="accuracy-of-an-error",
        ),
        pytest.param({"evaluation": SET, "gates": {"maxError": "-1"}}, "spec.gates.maxError", id="a-negative-error"),
        pytest.param({"gates": {"maxMemory": 0}}, "must be 1 or more", id="no-memory"),
        pytest.param({"gates": {"maxMemory": "1048577Ti"}}, "must be 1048576Ti (1 EiB) or less", id="too-much-memory"),
        pytest.param(
            {"source": {"uri": "s3://models/x", "sha256": "0" * 64, "secretRef": {}}},
            "spec.source.secretRef.name",
            id="a-secret-without-a-name",
        ),
        *[
            pytest.param({"source": {"uri": "s3://models/x", "interval": wrong}}, words, id=f"interval-{wrong}")
            for wrong, words in (
                ("59s", "must be 0s, or 1m or more"),
                ("1ms", "must be 0s, or 1m or more"),
                ("8761h", "must be 8760h (one year) or less"),
                ("hourly", "spec.source.interval"),
                ("9" * 20 + "h", "spec.source.interval"),
            )
        ],
        pytest.param({"gates": {"maxLatency": "fast"}}, "spec.gates.maxLatency", id="latency"),
        pytest.param({"gates": {"maxLatency": "0s"}}, "must be 0.001ms or more", id="no-latency"),
        pytest.param({"gates": {"maxLatency": "8761h"}}, "must be 8760h (one year) or less", id="latency-of-years"),
        pytest.param({"gates": {"maxImageSize": "big"}}, "spec.gates.maxImageSize", id="size"),
        pytest.param({"gates": {"maxImageSize": "1048577Ti"}}, "must be 1048576Ti (1 EiB) or less", id="vast-size"),
        pytest.param({"gates": {"maxMemory": "0"}}, "must be 1 or more", id="no-memory"),
        pytest.param(
            {"rollout": {"steps": [{"nodes": 1, "bake": "8761h"}]}}, "must be 8760h (one year) or less", id="bake"
        ),
        pytest.param(
            {"rollout": {"steps": [{"nodes": 1, "bake": "9" * 20 + "h"}]}}, "spec.rollout.steps[0].bake", id="overflow"
        ),
        pytest.param({"rollout": {"maxUnavailable": 0}}, "number from 1 or a percentage", id="nothing-unavailable"),
        pytest.param({"rollout": {"maxUnavailable": "0%"}}, "number from 1 or a percentage", id="nought-percent"),
        pytest.param({"rollout": {"steps": []}}, "spec.rollout.steps", id="no-step"),
        *(
            pytest.param({"gates": {"traffic": {field: value}}}, f"spec.gates.traffic.{field}", id=f"{field}-{value}")
            for field, value in (
                ("maxErrorRate", "1.5"),
                ("maxLatencyRatio", "0.9"),
                ("maxLatencyRatio", 2),
                ("maxConfidenceDrop", "-1%"),
                ("minRequests", 0),
                ("period", "an hour"),
            )
        ),
        pytest.param({"gates": {"replayInterval": "30s"}}, "must be 0s, or 1m or more", id="golden-samples-too-often"),
        pytest.param({"serving": {"port": 9000, "grpcPort": 9000}}, "spec.serving", id="one-port-twice"),
        pytest.param({"serving": {"port": 70000}}, "spec.serving.port", id="no-such-port"),
        pytest.param({"serving": {"expose": {}}}, "spec.serving.expose.type", id="exposed-how"),
        pytest.param({"serving": {"expose": {"type": "Ingress"}}}, "spec.serving.expose.type", id="exposed-otherwise"),
        pytest.param(
            {"serving": {"expose": {"type": "HostPort"}}},
            "needs httpPort, grpcPort or both",
            id="host-port-without-one",
        ),
        pytest.param(
            {"serving": {"expose": {"type": "NodePort", "httpPort": 30000, "grpcPort": 30000}}},
            "must be two different ports",
            id="one-exposed-port-twice",
        ),
    ],
)
def test_a_wrong_spec_is_refused_by_name(server: ApiServer, namespace: str, spec: dict[str, Any], says: str) -> None:
    assert says in server.refusal(edge_model("parts", namespace, **spec))["message"]


@pytest.mark.parametrize("interval", ["0s", "0h", "1m", "60s", "8760h"])
def test_a_source_needs_no_digest(server: ApiServer, namespace: str, interval: str) -> None:
    files = {"calibration": SET, "compiled": [{"toolchain": "EdgeTPU", "uri": "https://h/m.tflite"}]}
    source = {"uri": "s3://models/x", "interval": interval}
    server.apply(edge_model("parts", namespace, source=source, evaluation=SET, **files))
    server.apply(edge_model("usual", namespace, source={"uri": "s3://models/x"}))
    assert (server.get("edgemodels", "usual", namespace) or {})["spec"]["source"]["interval"] == "1h"


@pytest.mark.parametrize("name", ["x" * 47, "1st", "a.b"])
def test_a_name_that_could_not_name_its_children_is_refused(server: ApiServer, namespace: str, name: str) -> None:
    assert "metadata.name must" in server.refusal(edge_model(name, namespace))["message"]


@pytest.mark.parametrize(
    "uri",
    [
        "https://models.example:8443/parts/12/model.tflite?version=3",
        "oci://registry.example:5000/models/parts:12",
        f"oci://registry/models/parts@sha256:{'0' * 64}",
        "oci://registry/models/parts:12#weights/model.onnx",
    ],
)
def test_a_source_may_lie_elsewhere_than_in_a_bucket(server: ApiServer, namespace: str, uri: str) -> None:
    source = {"uri": uri, "sha256": "0" * 64}
    sets = {"calibration": {"uri": uri}, "evaluation": {"uri": uri, "metric": "TopK", "topK": 3}}
    server.apply(edge_model("parts", namespace, source=source, **sets))


VOLUME = {"name": "cache", "hostPath": "/var/cache", "mountPath": "/cache"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"nodeSelector": {}}, "spec.nodeSelector", id="no-labels"),
        pytest.param({"platform": {"architecture": "mips"}}, "spec.platform.architecture", id="architecture"),
        pytest.param(
            {"toolchain": {"name": "ONNXRuntime", "precisions": []}}, "spec.toolchain.precisions", id="no-rung"
        ),
        pytest.param({"toolchain": {"name": "OpenVINX"}}, "spec.toolchain.name", id="no-such-toolchain"),
        pytest.param(
            {"toolchain": {"precisions": ["int8"], "impossible": {"int8": "no"}}},
            "precisions must have none that impossible has",
            id="an-impossible-precision",
        ),
        pytest.param({"toolchain": {"impossible": {"int4": "no"}}}, "no other keys than int8", id="no-such-precision"),
        pytest.param({"runtime": {"server": "Nginx"}}, "spec.runtime.server", id="no-such-server"),
        pytest.param({"runtime": {"baseImage": "r/runtime:1"}}, "spec.runtime.baseImage", id="an-image-by-tag"),
        pytest.param({"runtime": {"volumes": [VOLUME | {"hostPath": "/a/../b"}]}}, "hostPath", id="a-way-out"),
        pytest.param({"runtime": {"volumes": [VOLUME | {"mountPath": "/model/x"}]}}, "must not be /model", id="taken"),
        pytest.param({"runtime": {"volumes": [VOLUME | {"name": "scratch"}]}}, "the name scratch", id="a-taken-name"),
        pytest.param({"runtime": {"volumes": [VOLUME, VOLUME]}}, "duplicate entries", id="a-volume-twice"),
    ],
)
def test_a_wrong_profile_is_refused_by_name(server: ApiServer, change: Object, says: str) -> None:
    profile = device_profile("wrong")
    profile["spec"] |= change
    assert says in server.refusal(profile)["message"]
