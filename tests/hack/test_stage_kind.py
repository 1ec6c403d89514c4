"""The demo on kind, as far as it shows without Docker: what stand-ins for `docker` and `kind` are asked."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from edgesmith_stage import kind
from edgesmith_stage.errors import StageError

STAND_IN = (
    f"#!{sys.executable} -IS\n"
    """
import json, os, sys
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
known = {"kind get nodes": "edgesmith-worker edgesmith-worker2"}
known["docker inspect"] = json.dumps([{"NetworkSettings": {"Networks": {"kind": {"IPAddress": "172.18.0.9"}}}}])
reading = words[:1] == ["exec"]
call = {"call": [name, *words], "stdin": sys.stdin.read() if reading else "", "user": os.environ.get("MINIO_ROOT_USER")}
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(call) + "\\n")
said = " ".join([name, *words])
print(next((answer for start, answer in known.items() if said.startswith(start)), ""))
"""
)


class Calls:
    """What the stand-ins were asked."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def starting(self, words: str) -> list[dict[str, Any]]:
        """The calls that start with these words."""
        calls = [json.loads(line) for line in self._file.read_text().splitlines()]
        return [call for call in calls if " ".join(call["call"]).startswith(words)]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    programs, binaries = tmp_path / "bin", tmp_path / "compiled"
    for folder, names in ((programs, ("docker", "kind", "kubectl", "helm")), (binaries, ("registry", "minio"))):
        folder.mkdir()
        for name in names:
            (folder / name).write_text(STAND_IN)
            (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setattr(kind, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(kind, "cluster", lambda *_: f"{binaries}\n")
    return Calls(tmp_path / "calls")


def test_a_registry_and_minio_of_our_own_stand_beside_the_cluster(calls: Calls, tmp_path: Path) -> None:
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


def test_keys_stay_out_of_the_list_of_processes_and_are_the_same_next_time(calls: Calls, tmp_path: Path) -> None:
    first, second = kind.up().bucket, kind.up().bucket
    assert first == second
    assert first.secret_key not in (tmp_path / "calls").read_text()
    started = calls.starting("docker run --detach --name edgesmith-bucket")[0]
    assert started["user"] == first.access_key
    assert stat.S_IMODE((tmp_path / "kept/keys").stat().st_mode) == 0o600


def test_down_removes_what_up_made(calls: Calls, tmp_path: Path) -> None:
    kind.up()
    kind.down()
    assert calls.starting("kind delete cluster --name edgesmith")
    removed = [call["call"][-1] for call in calls.starting("docker rm")][-2:]
    assert removed == ["edgesmith-registry", "edgesmith-bucket"]
    assert not (tmp_path / "kept").exists()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StageError, match="CLUSTER=kind needs docker, kind, kubectl, helm on PATH"):
        kind.up()
