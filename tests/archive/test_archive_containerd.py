"""The file for K3s' images folder, taken by the containerd that K3s has, as K3s takes it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Hub
from needs import lacking
from services import Server, start_registry, tool

from edgesmith.archive.images_folder import write_images
from edgesmith.archive.opened import Archive
from edgesmith.archive.write import write
from edgesmith_builder.oci import Registry


@pytest.fixture
def containerd(tmp_path: Path) -> Iterator[list[str]]:
    """The command line of `ctr images` for a containerd of its own, which runs nothing."""
    if os.geteuid() != 0:
        lacking("containerd needs root: run the tests as root")
    off = [f"io.containerd.{one}" for one in ("cri.v1.images", "cri.v1.runtime", "grpc.v1.cri")]
    socket = tmp_path / "containerd.sock"
    (tmp_path / "containerd.toml").write_text(
        f'version = 3\nroot = "{tmp_path}/root"\nstate = "{tmp_path}/state"\ndisabled_plugins = {off}\n'
        f'[grpc]\naddress = "{socket}"\n'
    )
    command = [str(tool("containerd")), "--config", str(tmp_path / "containerd.toml")]
    server = Server(command, "containerd successfully (booted)", {})
    yield [str(tool("ctr")), "--address", str(socket), "--namespace", "k8s.io", "images"]
    server.stop()


async def test_containerd_knows_the_images_by_the_names_that_pods_use(containerd: list[str], tmp_path: Path) -> None:
    for name in ("registry", "images"):
        (tmp_path / name).mkdir()
    server = start_registry(tmp_path / "registry")
    try:
        hub = Hub(server.address)
        await hub.fill()
        async with Registry(plain_http=True) as registry:
            await write((await hub.gathered(registry)).contents, registry, tmp_path / "a.tar")
    finally:
        server.stop()
    path = write_images(Archive.open(tmp_path / "a.tar"), "site.example:5000/mirror", tmp_path / "images")
    # The layers of the tests are no file systems, so they are stored and not unpacked.
    await ctr(*containerd, "import", "--no-unpack", "--all-platforms", str(path))
    found = (await ctr(*containerd, "list", "--quiet")).split()
    digests = (hub.model.partition("@")[2], hub.digests["fp32"])
    assert sorted(found) == sorted(f"site.example:5000/mirror/models/plant/models@{digest}" for digest in digests)


async def ctr(*words: str) -> str:
    """Run containerd's command line."""
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
