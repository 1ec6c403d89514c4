"""The command line: one module a command; also as `kubectl edgesmith`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.cli import archive as archives
from edgesmith.cli import history as past
from edgesmith.cli import plan as planning
from edgesmith.cli import profile as profiles
from edgesmith.cli import report as reporting
from edgesmith.cli import rings, watching
from edgesmith.cli import status as showing
from edgesmith.cli import steer as steering
from edgesmith.cli.answer import Answer
from edgesmith.cli.seen import look
from edgesmith.cluster.client import Client
from edgesmith.cluster.configuration import DEFAULT_NAMESPACE
from edgesmith.cluster.connection import connect
from edgesmith.cluster.errors import ClusterError
from edgesmith.cluster.kinds import EDGE_MODEL
from edgesmith.cluster.listing import load
from edgesmith_builder.oci import RegistryError

__all__ = ["main"]

_TIMEOUT = 15.0
"""Seconds for one call: a person waits."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 where it did what it was asked, 1 with one sentence on standard error where not.

    `profile detect` and `profile validate` are also 1 where no profile fits, or one is wrong.
    """
    found = _parser().parse_args(arguments)
    try:
        answer = _answer(found)
        if answer.text:
            print(answer.text, flush=True)
    except BrokenPipeError:
        return _unread()
    except (ClusterError, RegistryError, ValueError, OSError) as error:
        print(f"edgesmith: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return answer.status


def _unread() -> int:
    """Whoever reads has seen enough, as `head` has; at its end Python is not to tell of what it cannot write."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def _answer(found: argparse.Namespace) -> Answer:
    if found.command == "profile":
        return profiles.run(found, _TIMEOUT)
    if found.command == "archive":
        return archives.run(found, _TIMEOUT)
    if found.command == "promote" and (found.ring or not found.name):
        return rings.run(found)
    return Answer(asyncio.run(_run(found)))


async def _history(_client: Client, model: EdgeModel, found: argparse.Namespace) -> str:
    return past.as_json(model) if found.output == "json" else past.as_text(model)


def _written(model: EdgeModel, found: argparse.Namespace) -> str:
    """The table; files that were asked for are written first."""
    if found.png:
        reporting.chart_of(model).png(Path(found.png))
    if found.html:
        rows = [reporting.HEADER, *(tuple(asdict(row).values()) for row in reporting.rows_of(model))]
        Path(found.html).write_text(reporting.chart_of(model).page(rows))
    return reporting.as_json(model) if found.output == "json" else reporting.as_text(model)


async def _report(_client: Client, model: EdgeModel, found: argparse.Namespace) -> str:
    return _written(model, found)


_OF_ONE = {"history": _history, "report": _report} | dict.fromkeys(steering.WORDS, steering.steer)
"""Commands about one EdgeModel."""


async def _run(found: argparse.Namespace) -> str:
    connection = await connect(found.kubeconfig, found.context, outside=True)
    namespace = found.namespace or connection.namespace
    async with Client(connection, timeout=_TIMEOUT) as client:
        if found.command == "status" and found.watch:
            if found.output == "json":
                raise ValueError("status --watch prints text: leave -o json out, or --watch")
            await watching.follow(client, found.name, namespace, everywhere=found.all_namespaces)
        if found.command == "plan":
            made = await planning.plan(
                client, found.file, namespace, found.operator_namespace, found.registry_credentials
            )
            return planning.as_json(made) if found.output == "json" else planning.as_text(made)
        everywhere = found.command == "status" and found.all_namespaces
        return await _shown(client, found, "" if everywhere else namespace, namespace)


async def _shown(client: Client, found: argparse.Namespace, where: str, namespace: str) -> str:
    """The answer of a command about EdgeModels that are there."""
    objects = await load(client, where, [EDGE_MODEL])
    models = showing.choose(objects, found.name, namespace)
    if found.command in _OF_ONE:
        return await _OF_ONE[found.command](client, models[0], found)
    if found.output == "text" and not found.name:
        return showing.overview(models, namespaces=found.all_namespaces, unread=showing.unreadable(objects))
    seen = await look(client, where, showing.KINDS, models=[found.name] if found.name else None)
    if found.output == "json":
        return showing.as_json(seen, models)
    return "\n\n".join(showing.detail(seen, model) for model in models)


def _parser() -> argparse.ArgumentParser:
    name = "kubectl edgesmith" if os.path.basename(sys.argv[0]).startswith("kubectl-") else "edgesmith"  # noqa: PTH119 - a program's name, not a path
    parser = argparse.ArgumentParser(
        prog=name, description="The right build of your model on every edge node, and proof of it."
    )
    parser.add_argument("--version", action="version", version=f"edgesmith {_version()}")
    asking = argparse.ArgumentParser(add_help=False)
    asking.add_argument("--kubeconfig", help="kubeconfig; KUBECONFIG or ~/.kube/config where absent")
    asking.add_argument("--context", help="one of the kubeconfig's contexts")
    asking.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text for people, or JSON")
    common = argparse.ArgumentParser(add_help=False, parents=[asking])
    common.add_argument("-n", "--namespace", help="namespace; the kubeconfig's where absent")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    plan = commands.add_parser(
        "plan", parents=[common], help="say what applying a file would do, and why", description=planning.__doc__
    )
    plan.add_argument("-f", "--file", required=True, help="EdgeModels and DeviceProfiles as YAML; - for standard input")
    plan.add_argument(
        "--operator-namespace",
        default=os.environ.get("EDGESMITH_NAMESPACE") or DEFAULT_NAMESPACE,
        help="where the operator is installed (default: %(default)s)",
    )
    plan.add_argument(
        "--registry-credentials",
        default=os.environ.get("EDGESMITH_REGISTRY_CREDENTIALS"),
        metavar="FILE",
        help="a .dockerconfigjson, where the registry asks for a login",
    )

    status = commands.add_parser(
        "status", parents=[common], help="show EdgeModels, or one with all about it", description=showing.__doc__
    )
    status.add_argument("name", nargs="?", help="an EdgeModel; all of the namespace where absent")
    status.add_argument("-A", "--all-namespaces", action="store_true", help="in every namespace")
    status.add_argument("-w", "--watch", action="store_true", help="show it again whenever it changes")

    report = commands.add_parser(
        "report",
        parents=[common],
        help="show what builds and devices measured of each candidate",
        description=reporting.__doc__,
    )
    report.add_argument("name", help="an EdgeModel")
    report.add_argument("--png", metavar="FILE", help="write score against latency as PNG; needs edgesmith[report]")
    report.add_argument("--html", metavar="FILE", help="write the picture and the table as one HTML file")

    history = commands.add_parser("history", parents=[common], help="show the last revisions", description=past.__doc__)
    history.add_argument("name", help="an EdgeModel")
    steering.add_to(commands, common)
    profiles.add_to(commands, asking)
    archives.add_to(commands, common)
    return parser


def _version() -> str:
    try:
        return version("edgesmith")
    except PackageNotFoundError:  # an image holds the sources and no package
        return "in an image, which its tag names"
