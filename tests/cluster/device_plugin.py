"""A device plugin of the tests' own, for a real kubelet: it offers a twin of /dev/null under a real resource's name.

It speaks the kubelet's device plugin API, v1beta1, over the sockets in the node's folder. The device is a Coral USB
accelerator as far as its ids go: 1a6e:089a until it is first used, 18d1:9302 after that (udev rules of
github.com/google-coral/edgetpu). The resource has the domain of github.com/squat/generic-device-plugin, whose
`--device` names what comes after it.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import grpc
from faults import Fault

from edgesmith_cluster import processes
from edgesmith_cluster.state import Folder

RESOURCE = "squat.ai/edgetpu"
FRESH, USED = "1a6e:089a", "18d1:9302"
"""The ids of a Coral USB accelerator before and after its first use."""
IN_CONTAINER = "/dev/coral"
"""Where a container finds its device."""

_VARIABLE = "EDGESMITH_TEST_DEVICE"
_PLUGINS = "lib/kubelet/device-plugins"
_DEVICES = "lib/edgesmith-test-devices"
_SECONDS = 10.0
_POD = re.compile(r"/pod([0-9a-f-]{36})/")

_messages: Any
_services: Any
_messages, _services = grpc.protos_and_services("device_plugin.proto")


class DevicePlugin(_services.DevicePluginServicer):  # type: ignore[misc]  # made at run time
    """The plugin of one node, from the block's begin to its end.

    Attributes:
        allocated: what the kubelet asked to give to a container, in order.
        preferred: how often the kubelet asked which device to give.
        started: what the kubelet said that a container starts with, in order.
        moves: what the device becomes between a pod's self-test and its server, once; None: it stays.
    """

    def __init__(self, cluster: str, node: str, *devices: str) -> None:
        self.node = node
        self._own = Folder(cluster).node(node)
        self._offered = devices
        self._changed = threading.Condition()
        self._served = False
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8))
        self.allocated: list[str] = []
        self.preferred = 0
        self.started: list[str] = []
        self.moves: str | None = None
        self._begun = 0

    def __enter__(self) -> Self:
        self._plug(self._offered)
        _services.add_DevicePluginServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self._socket}")
        self._served = True
        self._server.start()
        options = _messages.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True)
        request = _messages.RegisterRequest(
            version="v1beta1", endpoint=self._socket.name, resource_name=RESOURCE, options=options
        )
        with grpc.insecure_channel(f"unix:{self._own / _PLUGINS / 'kubelet.sock'}") as channel:
            _services.RegistrationStub(channel).Register(request, timeout=_SECONDS)
        return self

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._served = False
            self._changed.notify_all()
        self._server.stop(grace=None).wait(_SECONDS)
        self._socket.unlink(missing_ok=True)
        shutil.rmtree(self._own / _DEVICES, ignore_errors=True)

    def offer(self, *devices: str) -> None:
        """Offer these devices in place of those that were: one is plugged in, taken away, or has got another id."""
        with self._changed:
            self._plug(devices)
            self._offered = devices
            self._changed.notify_all()

    @property
    def _socket(self) -> Path:
        return self._own / _PLUGINS / "edgesmith-test.sock"

    def _plug(self, devices: tuple[str, ...]) -> None:
        """Make the device nodes that are there, and no other."""
        folder = self._own / _DEVICES
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for device in devices:
            os.mknod(folder / device, 0o666 | stat.S_IFCHR, Path("/dev/null").stat().st_rdev)
            (folder / device).chmod(0o666)

    # The kubelet's calls, by their names in the .proto.

    def GetDevicePluginOptions(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Which of the optional calls are wanted."""
        return _messages.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True)

    def ListAndWatch(self, _request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        """The devices, again whenever they change."""
        context.add_callback(self._wake)
        said: tuple[str, ...] | None = None
        while True:
            with self._changed:
                while said == self._offered and self._served and context.is_active():
                    self._changed.wait()
                if not self._served or not context.is_active():
                    return
                said = self._offered
            devices = [_messages.Device(ID=device, health="Healthy") for device in said]
            yield _messages.ListAndWatchResponse(devices=devices)

    def GetPreferredAllocation(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """The first devices of those that are free."""
        self.preferred += 1
        wanted = [
            _messages.ContainerPreferredAllocationResponse(
                deviceIDs=sorted(one.available_deviceIDs)[: one.allocation_size]
            )
            for one in request.container_requests
        ]
        return _messages.PreferredAllocationResponse(container_responses=wanted)

    def Allocate(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """What a container is given: the device, and a variable by which its processes are found."""
        given = []
        for one in request.container_requests:
            (device,) = one.devices_ids
            self.allocated.append(device)
            inside = _messages.DeviceSpec(
                container_path=IN_CONTAINER, host_path=f"/var/{_DEVICES}/{device}", permissions="rw"
            )
            given.append(
                _messages.ContainerAllocateResponse(envs={_VARIABLE: f"{self.node}/{device}"}, devices=[inside])
            )
        return _messages.AllocateResponse(container_responses=given)

    def PreStartContainer(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Called before each start of a container: the self-test's, and then the server's."""
        self.started += request.devices_ids
        if self.moves is not None:
            self._begun += 1
            if self._begun > 1:
                self.offer(self.moves)
                self.moves, self._begun = None, 0
        return _messages.PreStartContainerResponse()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class Holders(Fault):
    """Looks at which pods' processes hold which device, again and again.

    Attributes:
        shared: what was held by two pods at once: `NODE/DEVICE` with the pods' UIDs.
        seen: the pods' UIDs by `NODE/DEVICE`, in the order in which they got it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shared: list[tuple[str, set[str]]] = []
        self.seen: dict[str, list[str]] = defaultdict(list)

    def step(self) -> None:
        """Look once more."""
        for device, pods in holders().items():
            if len({*pods}) > 1:
                self.shared.append((device, {*pods}))
            self.seen[device] += [pod for pod in pods if pod not in self.seen[device]]


def holders() -> dict[str, dict[str, Path]]:
    """The pods that hold a device: `NODE/DEVICE` to their UIDs, each with the root folder of one of its processes."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for process in processes.everything():
        folder = Path(f"/proc/{process.pid}")
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            groups = (folder / "cgroup").read_text()
        except OSError:
            continue  # it has ended
        pod = _POD.search(groups)
        device = next((one for one in variables if one.startswith(f"{_VARIABLE}=".encode())), None)
        if pod and device:
            found[device.decode().partition("=")[2]][pod[1]] = folder / "root"
    return found
