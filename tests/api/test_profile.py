"""`edgesmith profile` and a real API server agree on what is wrong, and it lists what is in the cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from apiserver import ApiServer
from test_cli import edgesmith
from wrong_profiles import WRONG, changed, right

from edgesmith.cli.profile.catalogue import catalogue


@pytest.fixture
def installed(server: ApiServer) -> Iterator[str]:
    """A DeviceProfile in the cluster."""
    server.apply(right("profile-of-this-test"))
    yield "profile-of-this-test"
    server.delete("deviceprofiles", "profile-of-this-test")


def test_the_list_of_a_cluster(server: ApiServer, installed: str) -> None:
    done = edgesmith(server, "profile", "list", "--cluster", "-o", "json")
    assert done.returncode == 0, done.stderr
    names = {one["name"] for one in json.loads(done.stdout)["profiles"]}
    assert installed in names
    assert names.isdisjoint(one.metadata.name for one in catalogue())


def test_what_is_right_is_taken_by_the_api_server(server: ApiServer) -> None:
    said = server.kubectl("apply", "--dry-run=server", document=right("right"))
    assert "deviceprofile.edgesmith.dev/right created" in said


def test_the_catalogue_is_taken_by_the_api_server(server: ApiServer) -> None:
    documents = [one.model_dump(mode="json", by_alias=True, exclude_unset=True) for one in catalogue()]
    kind = {"apiVersion": "edgesmith.dev/v1alpha1", "kind": "DeviceProfile"}
    items = {"apiVersion": "v1", "kind": "List", "items": [kind | one for one in documents]}
    said = server.kubectl("apply", "--dry-run=server", document=items)
    assert said.count(" created") == len(documents)


@pytest.mark.parametrize(("path", "value", "_says"), WRONG)
def test_what_is_wrong_is_refused_by_the_api_server_too(server: ApiServer, path: str, value: Any, _says: str) -> None:
    said = server.refusal(changed(path, value))["message"]
    assert "is invalid" in said or "failed to create typed patch object" in said, said


def test_one_validates_standard_input(server: ApiServer) -> None:
    done = edgesmith(server, "profile", "validate", "-", document=[right(), changed("spec/platform", None)])
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[1] == "-: document 2, mine: spec.platform is absent; it is required"
    assert done.stdout.splitlines()[0] == "-: document 1, mine: valid"
