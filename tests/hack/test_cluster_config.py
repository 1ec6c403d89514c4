"""The configuration of a local cluster's programs."""

import hashlib
import io
import json
import tarfile
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edgesmith_cluster import (
    catalogue,
    certificates,
    cli,
    controlplane,
    disk,
    dns,
    images,
    node,
    packages,
    status,
    storage,
    tools,
)
from edgesmith_cluster.console import Console
from edgesmith_cluster.errors import ClusterError
from edgesmith_cluster.plan import Plan
from edgesmith_cluster.state import Folder
from tests.patience import PATIENCE

PLAN = Plan(3, ("hub", "edge-1"))


def test_containerd_pins_the_sandbox_image_and_keeps_to_its_own_folders() -> None:
    config: dict[str, Any] = tomllib.loads(node.containerd_config())
    assert config["plugins"]["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"] == images.PAUSE
    runtime = config["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["restrict_oom_score_adj"] is True
    assert runtime["netns_mounts_under_state_dir"] is True


def test_the_registry_is_pulled_from_without_tls() -> None:
    hosts: dict[str, Any] = tomllib.loads(node.hosts_config("10.183.0.2:5000"))
    assert hosts["server"] == "http://10.183.0.2:5000"
    assert hosts["host"]["http://10.183.0.2:5000"]["capabilities"] == ["pull", "resolve"]


def test_the_registry_lets_manifests_be_deleted() -> None:
    config = storage.registry_config(PLAN, Path("/data"), "secret")
    assert config["storage"]["delete"] == {"enabled": True}
    assert config["http"]["addr"] == "10.183.0.2:5000"


def test_the_registry_of_a_site_fetches_from_the_one_its_uplink_leads_to_and_keeps_all_for_ever() -> None:
    config = storage.registry_config(PLAN, Path("/data"), "secret", Plan(7, ("hub",)))
    assert config["proxy"] == {"remoteurl": "http://10.187.0.2:5000", "ttl": "0"}
    assert config["http"]["addr"] == "10.183.0.2:5000"
    assert "proxy" not in storage.registry_config(PLAN, Path("/data"), "secret")


def test_a_kubelet_works_on_both_control_group_versions_and_on_a_full_disk() -> None:
    config = node.kubelet_config(PLAN, "demo", "edge-1")
    assert config["failCgroupV1"] is False
    assert config["cgroupRoot"] == "/edgesmith/demo/edge-1"
    assert config["clusterDNS"] == ["10.183.240.10"]
    assert config["evictionHard"]["imagefs.available"] == "1%"


def test_a_node_gives_its_pods_addresses_of_its_own_range() -> None:
    plugin = node.network_config(PLAN, "edge-1")["plugins"][0]
    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.183.17.0/24"}]]


def test_the_api_server_authorizes_nodes_as_a_real_one_does() -> None:
    flags = controlplane.apiserver_flags(PLAN, certificates.Certificates(Path("/c")))
    assert "--authorization-mode=Node,RBAC" in flags
    assert "--enable-admission-plugins=NodeRestriction" in flags


def test_a_node_that_is_cut_off_is_noticed_in_twelve_seconds_and_one_that_is_late_once_is_not() -> None:
    flags = controlplane.controller_flags(Folder("demo"), certificates.Certificates(Path("/c")))
    assert {"--node-monitor-grace-period=10s", "--node-monitor-period=2s"} <= set(flags)
    config = node.kubelet_config(PLAN, "demo", "edge-1")
    assert (config["nodeStatusUpdateFrequency"], config["nodeLeaseDurationSeconds"] / 4) == ("4s", 4)


def test_kubelets_are_who_the_node_authorizer_expects() -> None:
    found = {request.name: request for request in certificates.requests(PLAN)}
    assert certificates.subject(found["kubelet-edge-1"]) == "/O=system:nodes/CN=system:node:edge-1"
    assert "IP:10.183.0.3" in found["kubelet-edge-1-server"].addresses
    assert "IP:10.183.240.1" in found["apiserver"].addresses
    assert certificates.subject(found["scheduler"]) == "/CN=system:kube-scheduler"


def test_coredns_answers_for_the_cluster_and_asks_nobody_else() -> None:
    assert "forward" not in dns.COREFILE
    service = next(content for path, content in dns.objects(PLAN) if path.endswith("/services"))
    assert service["spec"]["clusterIP"] == "10.183.240.10"


def test_every_node_of_a_first_start_may_make_the_archive_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pause").write_bytes(b"a program")
    whole, together = images.archive(tmp_path / "pause", images.PAUSE, "amd64"), threading.Barrier(4)
    rename = Path.rename

    def at_once(self: Path, target: Path) -> Path:
        together.wait(PATIENCE)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", at_once)
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(lambda _: images.kept(tmp_path, "pause", images.PAUSE, "amd64"), range(4)))
    assert {file.read_bytes() for file in files} == {whole}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["pause", "pause.tar"]


def test_only_the_hub_restarts_containers_without_long_pauses() -> None:
    assert node.kubelet_config(PLAN, "demo", "hub")["crashLoopBackOff"] == {"maxContainerRestartPeriod": "2s"}
    assert "crashLoopBackOff" not in node.kubelet_config(PLAN, "demo", "edge-1")


def test_a_node_with_a_disk_of_its_own_makes_room_on_it(tmp_path: Path) -> None:
    usual, own = (node.kubelet_config(PLAN, "demo", "edge-1", own_disk=own) for own in (False, True))
    assert (usual["evictionHard"]["imagefs.available"], own["evictionHard"]["imagefs.available"]) == ("1%", "10%")
    assert "imageMinimumGCAge" not in usual
    assert disk.of(tmp_path) is None
    disk.make(tmp_path, 300)
    file = disk.of(tmp_path)
    assert file is not None
    assert (file.stat().st_size, file.stat().st_blocks * 512 < 2**26) == (300 * 2**20, True)


def test_an_image_archive_is_whole_and_always_the_same(tmp_path: Path) -> None:
    program = tmp_path / "coredns"
    program.write_bytes(b"\x7fELF and so on")
    first = images.archive(program, images.COREDNS, "amd64")
    assert first == images.archive(program, images.COREDNS, "amd64")
    with tarfile.open(fileobj=io.BytesIO(first)) as layout:

        def read(name: str) -> bytes:
            member = layout.extractfile(name)
            assert member is not None
            return member.read()

        entry = json.loads(read("index.json"))["manifests"][0]
        assert entry["annotations"]["io.containerd.image.name"] == "localhost/coredns:1"
        manifest = json.loads(read(f"blobs/sha256/{entry['digest'][7:]}"))
        for piece in [entry, manifest["config"], *manifest["layers"]]:
            content = read(f"blobs/sha256/{piece['digest'][7:]}")
            assert hashlib.sha256(content).hexdigest() == piece["digest"][7:]
            assert len(content) == piece["size"]
        with tarfile.open(fileobj=io.BytesIO(content)) as layer:
            assert [(member.name, member.mode) for member in layer] == [("coredns", 0o755)]


def test_a_changed_source_is_another_version(tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text("package main\n")
    (tmp_path / "notes.txt").write_text("a\n")
    before = catalogue.digest(tmp_path)
    (tmp_path / "notes.txt").write_text("b\n")
    assert catalogue.digest(tmp_path) == before
    (tmp_path / "main.go").write_text("package main // changed\n")
    assert catalogue.digest(tmp_path) != before


def test_every_tool_has_a_folder_of_its_own_and_a_pinned_version() -> None:
    found = [*catalogue.tools(), *catalogue.companions()]
    assert len({tool.folder for tool in found}) == len(found)
    for tool in found:
        words = tool.command(Path("/out"))
        assert "-trimpath" in words
        assert "latest" not in " ".join(words)


def test_a_module_of_our_own_compiles_itself_or_what_it_names_as_its_tool() -> None:
    found = {tool.name: tool.command(Path("/out")) for tool in catalogue.companions()}
    assert found["argocd"][-2:] == ["/out/argocd-programs", "."]
    assert found["kustomize-controller"][-2:] == [
        "/out/kustomize-controller",
        "github.com/fluxcd/kustomize-controller",
    ]
    assert found["prometheus"][-4:-1] == [
        "/out",
        "github.com/prometheus/prometheus/cmd/prometheus",
        "github.com/prometheus/prometheus/cmd/promtool",
    ]
    requirements = (catalogue.SOURCES / "flux/go.mod").read_text()
    assert f"github.com/fluxcd/kustomize-controller {catalogue.FLUX}" in requirements
    major, minor, patch = catalogue.PROMETHEUS[1:].split(".")
    requirements = (catalogue.SOURCES / "prometheus/go.mod").read_text()
    assert f"github.com/prometheus/prometheus v0.{major}{int(minor):02}.{patch} " in requirements


def test_kubernetes_reports_its_version() -> None:
    tool = next(tool for tool in catalogue.tools() if tool.name == "kubernetes")
    flags = tool.command(Path("/out"))[4]
    assert flags == (
        "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3"
        " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
    )


@pytest.mark.parametrize(
    ("output", "version"), [("go1.26.8", (1, 26)), ("go1.27rc1", (1, 27)), ("devel +abc", (0, 0)), ("", (0, 0))]
)
def test_gos_version_is_read(output: str, version: tuple[int, int]) -> None:
    assert tools.parse_go_version(output) == version


def test_a_program_from_another_package_is_as_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runc = tmp_path / "runc"
    runc.write_text("#!/bin/sh\n")
    runc.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "runc" not in packages.missing()
    assert "nftables" in packages.missing()


def test_without_apt_the_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"iproute2.*runc.*please install them"):
        packages.ensure(Console())


def test_the_tools_bring_what_the_tests_need_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["tools"]) == 1
    assert "chromium, git, qemu-user-static, redis-tools; please install them" in "".join(capsys.readouterr())


def test_no_cluster_waits_for_what_only_tests_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESMITH_CACHE", str(tmp_path))
    for tool in [*catalogue.tools(), *catalogue.companions()]:
        if tool.name not in {"argocd", "kustomize-controller", "prometheus"}:
            (tmp_path / "tools" / tool.folder).mkdir(parents=True)
    assert tools.ensure(Console()) == tmp_path / "tools/bin"
    assert not (tmp_path / "tools/bin/cosign").is_symlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="Go is not installed"):
        tools.ensure(Console(), *catalogue.companions())


def test_the_table_shows_what_is_cut() -> None:
    description = {
        "kubeconfig": "/k",
        "registry": "10.180.0.2:5000",
        "minio": {"endpoint": "http://10.180.0.2:9000", "accessKey": "a", "secretKey": "s"},
        "nodes": [
            {"name": "hub", "address": "10.180.0.2", "ready": True, "cut": False},
            {"name": "edge-1", "address": "10.180.0.3", "ready": False, "cut": True},
        ],
        "uplink": {"cluster": "hub", "up": False},
        "tools": "/t",
    }
    lines = status.table(description).splitlines()
    assert lines[0].split() == ["NODE", "ADDRESS", "READY", "LINK"]
    assert lines[2].split() == ["edge-1", "10.180.0.3", "no", "cut"]
    assert "uplink      to the cluster hub, cut" in lines
    assert not any("uplink" in line for line in status.table({**description, "uplink": None}).splitlines())
