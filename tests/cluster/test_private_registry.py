"""A registry that refuses is named, fixed by an upgrade of the chart, then built for and pulled from with a login."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from private_registry import PrivateRegistry, private_registry

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.install import NAMESPACE, install_chart

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

SECRET = "registry-login"  # noqa: S105 - the Secret's name, not its content


@pytest.fixture
def private(fleet: Fleet, images: dict[str, str], tmp_path: Path) -> Iterator[PrivateRegistry]:
    """The private registry; afterwards the chart is as it was, and the EdgeModel that used it is gone."""
    with private_registry(fleet.ground, tmp_path) as registry:
        yield registry
        fleet.ground.kube("delete", "edgemodels", "--all", "-n", fleet.namespace)
        install_chart(fleet.ground, images)


def test_a_registry_that_refuses_is_named_and_its_login_is_the_fix(
    fleet: Fleet, images: dict[str, str], private: PrivateRegistry
) -> None:
    ground = fleet.ground
    elsewhere = f"registry.repository={private.address}/models"
    install_chart(ground, images, elsewhere)
    fleet.apply(fleet.manifest("parts", fleet.publish("1"), deviceProfiles={"names": ["panel-pc"]}))
    refused = fleet.wait("parts", "Stalled", reason="RegistryForbidden", seconds=60)
    for word in (f"{private.address}/models/{fleet.namespace}/models", "401", "login"):
        assert word in refused["message"]

    ground.kube.apply(private.secret(SECRET), namespace=NAMESPACE)
    install_chart(ground, images, elsewhere, f"registry.pullSecret={SECRET}", f"registry.pushSecret={SECRET}")
    waiting = fleet.wait_saying("parts", "Reconciling", SECRET, seconds=90)
    assert "cannot start" in waiting["message"]
    assert waiting["reason"] == "Building"

    ground.kube.apply(private.secret(SECRET), namespace=fleet.namespace)
    fleet.wait_settled("parts", 240)
    servers = fleet.servers("parts")
    assert set(servers) == {"edge-3"}
    assert servers["edge-3"].image.startswith(f"{private.address}/models/{fleet.namespace}/models@sha256:")
