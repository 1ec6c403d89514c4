"""The demo on kind, as far as it shows without Docker: what stand-ins for `docker` and `kind` are asked."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from stand_ins import StandIns, write_stand_in

from edgesmith_stage import kind
from edgesmith_stage.errors import StageError


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    made = StandIns(tmp_path, ("docker", "kind", "kubectl", "helm"), monkeypatch)
    address = [{"NetworkSettings": {"Networks": {"kind": {"IPAddress": "172.18.0.9"}}}}]
    made.answer({"kind get nodes": "edgesmith-worker edgesmith-worker2", "docker inspect": json.dumps(address)})
    binaries = tmp_path / "compiled"
    binaries.mkdir()
    for name in ("registry", "minio"):
        write_stand_in(binaries / name)
    monkeypatch.setattr(kind, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(kind, "cluster", lambda *_: f"{binaries}\n")
    return made


def test_a_registry_and_minio_of_our_own_stand_beside_the_cluster(calls: StandIns, tmp_path: Path) -> None:
    ground = kind.up()
    assert (ground.registry, ground.bucket.endpoint) == ("172.18.0.9:5000", "http://172.18.0.9:9000")
    assert calls.starting("kind create cluster")[0]["call"][-1].endswith("/kind-config.yaml")
    assert [call["call"][4] for call in calls.starting("docker build")] == ["edgesmith-registry", "edgesmith-bucket"]
    for name, program in (("edgesmith-registry", "registry"), ("edgesmith-bucket", "minio")):
        context = tmp_path / "kept" / name
        assert os.access(context / program, os.X_OK)
        assert f'ENTRYPOINT ["/{program}"]' in (context / "Dockerfile").read_text()
    assert json.loads((tmp_path / "kept/edgesmith-registry/config.json").read_text())["http"] == {"addr": ":5000"}
    nodes = [call["call"][3] for call in calls.starting("docker exec -i")]
    assert nodes == ["edgesmith-worker", "edgesmith-worker2"]
    assert {call["stdin"] for call in calls.starting("docker exec -i")} == {'server = "http://172.18.0.9:5000"\n'}


def test_keys_stay_out_of_the_list_of_processes_and_are_the_same_next_time(calls: StandIns, tmp_path: Path) -> None:
    first, second = kind.up().bucket, kind.up().bucket
    assert first == second
    assert first.secret_key not in calls.text()
    started = calls.starting("docker run --detach --name edgesmith-bucket")[0]
    assert started["user"] == first.access_key
    assert stat.S_IMODE((tmp_path / "kept/keys").stat().st_mode) == 0o600


def test_down_removes_what_up_made(calls: StandIns, tmp_path: Path) -> None:
    kind.up()
    kind.down()
    assert calls.starting("kind delete cluster --name edgesmith")
    removed = [call["call"][-1] for call in calls.starting("docker rm")][-2:]
    assert removed == ["edgesmith-registry", "edgesmith-bucket"]
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ({"kind get clusters": "edgesmith other"}, "the kind cluster edgesmith"),
        ({"docker ps --all": "edgesmith-bucket"}, "the container edgesmith-bucket"),
    ],
)
def test_what_goes_by_our_names_and_was_not_made_here_stays(
    calls: StandIns, answer: dict[str, str], named: str
) -> None:
    calls.answer(answer)
    for verb in (kind.up, kind.down):
        with pytest.raises(StageError, match=f"^{named} was not made by the demo of this checkout"):
            verb()
    changing = ("kind create", "kind delete", "docker rm", "docker run", "docker image")
    assert not [call for words in changing for call in calls.starting(words)]


def test_what_was_made_here_is_taken_again(calls: StandIns) -> None:
    kind.up()
    calls.answer({"kind get clusters": "edgesmith", "docker ps": "edgesmith-bucket edgesmith-registry"})
    kind.up()
    kind.down()
    assert len(calls.starting("kind create")) == len(calls.starting("kind delete")) == 1


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StageError, match="CLUSTER=kind needs docker, kind, kubectl, helm on PATH"):
        kind.up()
