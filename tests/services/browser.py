"""A headless Chromium, driven over the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import aiohttp
from needs import lacking

from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Gone(Exception):  # noqa: N818 - reads as what happened
    """What was asked is not there any more: the page has gone to another address."""


class Page:
    """A page of the browser.

    Attributes:
        asked: The addresses that it asked for.
        faults: What it wrote to its console as errors, a breach of its policy among it.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.asked: list[str] = []
        self.faults: list[str] = []
        self._socket = socket
        self._session: str | None = None
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._fault = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())

    async def start(self) -> None:
        """Open the page, and listen to what it does."""
        target = await self.send("Target.createTarget", url="about:blank")
        attached = await self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            await self.send(f"{domain}.enable")

    async def send(self, method: str, **parameters: Any) -> Any:
        """Send a command and wait for its result."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        session = {"sessionId": self._session} if self._session else {}
        await self._socket.send_str(json.dumps({"id": number, "method": method, "params": parameters} | session))
        return await asyncio.wait_for(self._waiting[number], PATIENCE)

    async def run(self, script: str) -> Any:
        """Evaluate an expression in the page; of a promise, what it becomes."""
        found = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"])
        return found["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until an expression is true, a picture that is not drawn yet included."""
        look = f"const look = () => ({condition}) ? done() : setTimeout(look, 10); look();"
        while True:
            try:
                await self.run(f"new Promise((done) => {{ {look} }})")
            except TimeoutError:
                text = await self.run("document.body.innerText")
                raise AssertionError(f"{condition} did not come; the page shows: {text}") from None
            except Gone:
                continue  # the page went to another address, or looked again at its own
            return

    async def faulty(self, count: int) -> None:
        """Wait until so many faults were written."""
        while len(self.faults) < count:
            self._fault.clear()
            await asyncio.wait_for(self._fault.wait(), PATIENCE)

    async def open(self, address: str) -> None:
        """Go to an address, also where the page is there already."""
        await self.send("Page.navigate", url="about:blank")
        await self.until("location.href === 'about:blank'")
        await self.send("Page.navigate", url=address)
        await self.until(f"location.href.startsWith({json.dumps(address)}) && document.readyState === 'complete'")

    async def choose(self, file: Path) -> None:
        """Choose a file in the page's field for one."""
        root = await self.send("DOM.getDocument")
        field = await self.send("DOM.querySelector", nodeId=root["root"]["nodeId"], selector="input[type=file]")
        await self.send("DOM.setFileInputFiles", nodeId=field["nodeId"], files=[str(file)])

    async def drop(self, file: Path, x: int = 100, y: int = 100) -> None:
        """Drag a file into the page and let it go."""
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            await self.send("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    async def press(self, key: str) -> None:
        """Press a key and let it go."""
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        for kind in ("rawKeyDown", "keyUp"):
            await self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key])

    async def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Take a window's size and somebody's liking of dark or light."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self) -> bytes:
        """What is seen, as a PNG."""
        found = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(found["data"])

    async def close(self) -> None:
        """Listen no more."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        async for message in self._socket:
            said = json.loads(message.data)
            if (waiting := self._waiting.pop(said.get("id"), None)) is not None:
                if waiting.cancelled():
                    continue
                if "error" in said:
                    gone = "navigated" in said["error"]["message"] or "context" in said["error"]["message"]
                    waiting.set_exception(Gone() if gone else AssertionError(said["error"]))
                else:
                    waiting.set_result(said["result"])
            parameters = said.get("params", {})
            match said.get("method"):
                case "Network.requestWillBeSent":
                    self.asked.append(parameters["request"]["url"])
                case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                    self.faults.append(parameters["entry"]["text"])
                    self._fault.set()
                case "Runtime.exceptionThrown":
                    self.faults.append(parameters["exceptionDetails"]["text"])


@asynccontextmanager
async def browsing(folder: Path) -> AsyncIterator[Page]:
    """A browser with one empty page, for as long as the context lasts; the test is skipped where there is none.

    Args:
        folder: An empty folder for what it keeps.
    """
    program = shutil.which("chromium")
    if program is None:
        lacking("chromium is not installed: run `make tools` as root, or install it")
    # Without its sandbox, which root may not have; it opens pages of our own alone.
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0")
    quiet = (
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
    )
    command = [program, *flags, *quiet, f"--user-data-dir={folder}", "about:blank"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        address = await asyncio.wait_for(_address(process), PATIENCE)
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=2**26) as socket:
            page = Page(socket)
            await page.start()
            try:
                yield page
            finally:
                await page.close()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        _, found, address = line.decode(errors="replace").partition("DevTools listening on ")
        if found:
            return address.strip()
    raise AssertionError("chromium ended before it listened")
