"""Compiles what is missing with Go and keeps it in the cache, a folder per tool and version."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from edgesmith_cluster.catalogue import Tool, companions, tools
from edgesmith_cluster.commands import run
from edgesmith_cluster.console import Console, Heartbeat
from edgesmith_cluster.errors import ClusterError, tail
from edgesmith_cluster.locks import locked

_GO = (1, 26)
_DISK = 12 * 2**30  # bytes: Go's module and build caches take 4 to 6 GB, a link step needs room beside them


def cache() -> Path:
    """Return the folder that holds every tool; ``EDGESMITH_CACHE`` moves it."""
    chosen = os.environ.get("EDGESMITH_CACHE")
    return (Path(chosen) if chosen else Path.home() / ".cache/edgesmith").resolve() / "tools"


def binaries() -> Path:
    """Return the one folder that has a link to every program."""
    return cache() / "bin"


def parse_go_version(output: str) -> tuple[int, int]:
    """Return the two leading numbers of what ``go env GOVERSION`` prints, (0, 0) when it has none."""
    match = re.search(r"go(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def ensure(console: Console, *more: Tool, tests: bool = False) -> Path:
    """Compile what is missing and return the folder of links to all programs.

    Args:
        console: where progress is shown.
        more: others besides those of every cluster.
        tests: what the tests need besides, too.

    Raises:
        ClusterError: Go is missing or too old, the disk is full, or something does not compile.
    """
    wanted = [*tools(), *(companions() if tests else []), *more]
    if any(not (cache() / tool.folder).is_dir() for tool in wanted):
        with locked(cache() / "lock", lambda: console.say("another run is compiling the tools; waiting for it")):
            missing = [tool for tool in wanted if not (cache() / tool.folder).is_dir()]
            if missing:
                _check(console, len(missing))
            for number, tool in enumerate(missing, 1):
                _compile(console, tool, f"[{number}/{len(missing)}]")
    _link(wanted)
    return binaries()


def _check(console: Console, count: int) -> None:
    if shutil.which("go") is None:
        raise ClusterError("Go is not installed: install Go 1.26 from https://go.dev/dl/ and put it on PATH")
    found = run(["go", "env", "GOVERSION"]).strip()
    if parse_go_version(found) < _GO:
        raise ClusterError(f"Go is {found}: expected go1.26 or later, see https://go.dev/dl/")
    free = shutil.disk_usage(cache()).free
    if free < _DISK:
        console.say(f"only {free / 2**30:.0f} GB are free under {cache()}; compiling may need up to 12")
    console.say(f"{count} of the tools are not compiled yet; this happens once, they are kept in {cache()}")


def _compile(console: Console, tool: Tool, place: str) -> None:
    folder = cache() / tool.folder
    log = cache() / f"{tool.name}.log"
    for left in cache().glob(f".{tool.folder}.*"):  # by a run that was killed
        shutil.rmtree(left)
    fresh = Path(tempfile.mkdtemp(prefix=f".{tool.folder}.", dir=cache()))
    fresh.chmod(0o755)
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOBIN": str(fresh),
        "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -buildvcs=false".strip(),
        "GOWORK": "off",
    }
    heartbeat = console.heartbeat(f"{place} compiling {tool.title}, {tool.about}, once")
    with log.open("wb") as output:
        process = subprocess.Popen(
            tool.command(fresh),
            cwd=tool.source or cache(),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            code = _wait(process, heartbeat)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    absent = [program for program in tool.programs if not (fresh / program).is_file()]
    if code or absent:
        heartbeat.end("failed")
        shutil.rmtree(fresh)
        said = f"ended with {code}" if code else f"made no {absent[0]}"
        raise ClusterError(f"{tool.title} did not compile: `go {tool.command(fresh)[1]}` {said}", tail(log))
    fresh.rename(folder)
    log.unlink()
    heartbeat.end("done")


def _wait(process: subprocess.Popen[bytes], heartbeat: Heartbeat) -> int:
    while True:
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            heartbeat.beat()


def _link(wanted: list[Tool]) -> None:
    """Point the links of the one folder at these versions, each in one step."""
    folder = binaries()
    folder.mkdir(parents=True, exist_ok=True)
    for tool in wanted:
        targets = {program: program for program in tool.programs}
        targets |= dict.fromkeys(tool.links, tool.programs[0])
        for name, program in targets.items():
            # Relative, because a node sees the folder of all tools at another place.
            target = f"../{tool.folder}/{program}"
            link, fresh = folder / name, folder / f".{name}.{os.getpid()}"
            if link.is_symlink() and str(link.readlink()) == target:
                continue
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(target)
            fresh.rename(link)
