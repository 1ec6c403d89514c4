"""The command line of the image with Triton: the same ``serve``, ``selftest``, ``wait`` and ``room``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgesmith_runtime.arguments import add_gates, limits_of, port, report, seconds, shared_arguments
from edgesmith_runtime.device import default_threads
from edgesmith_runtime.logs import set_up_logging
from edgesmith_runtime.parsing import Parser
from edgesmith_runtime.room import HELP, add_room
from edgesmith_runtime.sigterm import end_at_sigterm
from edgesmith_runtime.waiting import wait

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["build_parser", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The arguments; the process' own when ``None``.

    Returns:
        The exit status; none where the process has become the server.
    """
    options = build_parser().parse_args(arguments)
    set_up_logging()
    status: int = options.run(options)
    return status


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = Parser(prog="edgesmith_runtime.triton", description="Serves one model bundle on an edge node with Triton.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = shared_arguments()
    serving = commands.add_parser("serve", parents=[shared], help="check the bundle and become tritonserver")
    serving.set_defaults(run=_serve)
    serving.add_argument("--host", default="0.0.0.0", help="the address to listen on (default: %(default)s)")  # noqa: S104 - a pod listens on its address
    for name, default in (("http", 8000), ("grpc", 8001), ("metrics", 8002)):
        serving.add_argument(
            f"--{name}-port", type=port, default=default, help=f"the port for {name} (default: %(default)s)"
        )
    serving.add_argument(
        "--drain-seconds",
        type=seconds,
        default=20.0,
        help="how long requests in flight may take after SIGTERM (default: %(default)g)",
    )
    testing = commands.add_parser("selftest", parents=[shared], help="test the bundle with Triton on this device")
    testing.set_defaults(run=_selftest)
    add_gates(testing)
    commands.add_parser("wait", help="do nothing until SIGTERM").set_defaults(run=lambda _: wait())
    add_room(commands.add_parser("room", help=HELP))
    return parser


def _serve(options: argparse.Namespace) -> int:
    from edgesmith_runtime.triton.command import Listening  # noqa: PLC0415 - `--help` needs none of it
    from edgesmith_runtime.triton.serve import Settings, serve  # noqa: PLC0415 - as above

    return serve(
        Settings(
            bundle=options.bundle,
            name=options.name,
            listening=Listening(options.host, options.http_port, options.grpc_port, options.metrics_port),
            threads=options.threads or default_threads(),
            max_batch=options.max_batch,
            drain_seconds=options.drain_seconds,
            termination_log=options.termination_log,
        )
    )


def _selftest(options: argparse.Namespace) -> int:
    from edgesmith_runtime.triton.selftest import Asked, self_test  # noqa: PLC0415 - `--help` needs none of it

    end_at_sigterm()
    finding = self_test(
        options.bundle,
        Asked(
            name=options.name,
            threads=options.threads or default_threads(),
            limits=limits_of(options.max_batch),
            max_latency_ms=options.max_latency_ms,
            max_memory_bytes=options.max_memory_bytes,
        ),
    )
    return report(finding, options.termination_log, always=options.report)
