"""What the operator tells Prometheus of each EdgeModel is what stands in its status."""

from __future__ import annotations

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.status import NodeCounts
from edgesmith.controller import fleet_metrics, metrics
from edgesmith.controller.metrics import Numbers

MODEL = EdgeModel.model_validate(
    {
        "metadata": {"name": "parts", "namespace": "plant-7", "uid": "u", "generation": 1},
        "spec": {
            "source": {"uri": "s3://models/parts/a/model.onnx", "sha256": "a" * 64},
            "deviceProfiles": {"names": ["amd64"]},
        },
        "status": {
            "conditions": [
                {
                    "type": "Ready",
                    "status": "False",
                    "reason": "Canary",
                    "message": "one node, “edge-1”, is tried",
                    "lastTransitionTime": "2026-11-01T00:00:00Z",
                }
            ],
            "nodes": {"desired": 5, "updated": 1, "ready": 3, "notReady": 2, "failed": 1},
            "variants": [
                {"profile": "amd64", "state": "Canary", "revision": "76b343532e", "precision": "int8"},
                {"profile": "arm64", "state": "Building"},
            ],
        },
    }
)


def rendered(*models: EdgeModel) -> list[str]:
    """The lines of a page of metrics that are about EdgeModels."""
    numbers = Numbers()
    numbers.families(
        {
            metrics.MODEL_NODES: lambda: fleet_metrics.nodes(models),
            metrics.MODEL_CONDITION: lambda: fleet_metrics.conditions(models),
            metrics.MODEL_VARIANT: lambda: fleet_metrics.variants(models),
        }
    )
    return [line for line in numbers.render().splitlines() if line.startswith("edgesmith_edgemodel_")]


def test_a_status_is_counted_by_state_and_told_by_condition_and_variant() -> None:
    about = 'namespace="plant-7",edgemodel="parts"'
    variant = f"edgesmith_edgemodel_variant_info{{{about},"
    counts = {
        "desired": 5,
        "device_missing": 0,
        "disk_full": 0,
        "failed": 1,
        "not_ready": 2,
        "ready": 3,
        "tainted": 0,
        "updated": 1,
    }
    assert rendered(MODEL) == [
        *(f'edgesmith_edgemodel_nodes{{{about},state="{state}"}} {count}' for state, count in counts.items()),
        f'edgesmith_edgemodel_condition{{{about},type="Ready",status="False",reason="Canary"}} 1',
        f'{variant}profile="amd64",state="Canary",revision="76b343532e",precision="int8"}} 1',
        f'{variant}profile="arm64",state="Building",revision="",precision=""}} 1',
    ]


def test_every_count_of_a_status_is_told() -> None:
    told = {state for *_, state in fleet_metrics.nodes([MODEL])}
    assert told == set(NodeCounts.model_fields)


def test_without_edgemodels_there_is_no_series() -> None:
    assert rendered() == []
