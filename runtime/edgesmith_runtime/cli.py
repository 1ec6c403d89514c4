"""The command line: ``serve``, ``selftest``, ``uplink``, ``wait``, ``report`` and ``room``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import TYPE_CHECKING

from edgesmith_runtime.arguments import add_gates, limits_of, port, positive, report, seconds, shared_arguments
from edgesmith_runtime.device import bound_heap, default_threads
from edgesmith_runtime.feedback.arguments import add_feedback, feedback_of
from edgesmith_runtime.health import Patience
from edgesmith_runtime.http.limits import MEBIBYTE, Limits
from edgesmith_runtime.judging.arguments import add_judging, judging_of
from edgesmith_runtime.logs import set_up_logging
from edgesmith_runtime.parsing import Parser
from edgesmith_runtime.reporting import HELP, add_report
from edgesmith_runtime.room import HELP as ROOM
from edgesmith_runtime.room import add_room
from edgesmith_runtime.sampling.arguments import add_sampling
from edgesmith_runtime.sigterm import end_at_sigterm, end_within_native_code
from edgesmith_runtime.uplink.arguments import add_uplink
from edgesmith_runtime.waiting import wait

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["build_parser", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The arguments; the process' own when ``None``.

    Returns:
        The exit status.
    """
    options = build_parser().parse_args(arguments)
    set_up_logging()
    bound_heap()
    status: int = options.run(options)
    logging.shutdown()
    sys.stdout.flush()
    return status


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = Parser(prog="edgesmith_runtime", description="Serves one model bundle on an edge node.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared, limits = shared_arguments(), Limits()
    shared.add_argument(
        "--max-body-mib",
        type=positive,
        default=limits.body // MEBIBYTE,
        help="the longest request in MiB; 413 above (default: %(default)s)",
    )
    shared.add_argument(
        "--max-pending-mib",
        type=positive,
        default=None,
        help="requests in memory at once in MiB; 503 above "
        f"(default: {limits.bodies // MEBIBYTE}, or a quarter of the container's memory limit where that is less)",
    )
    _add_serve(commands.add_parser("serve", parents=[shared], help="serve the bundle over HTTP and gRPC"))
    _add_selftest(commands.add_parser("selftest", parents=[shared], help="test the bundle on this device"))
    add_uplink(commands.add_parser("uplink", help="send samples that wait to a bucket"))
    commands.add_parser("wait", help="do nothing until SIGTERM").set_defaults(run=lambda _: wait())
    add_report(commands.add_parser("report", help=HELP))
    add_room(commands.add_parser("room", help=ROOM))
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    patience = Patience()
    parser.set_defaults(run=_serve)
    parser.add_argument("--host", default="", help="the address to listen on (default: all)")
    parser.add_argument("--http-port", type=port, default=8000, help="the HTTP port (default: %(default)s)")
    parser.add_argument("--grpc-port", type=port, default=8001, help="the gRPC port (default: %(default)s)")
    parser.add_argument(
        "--accept-seconds",
        type=seconds,
        default=3.0,
        help="how long new requests are taken after SIGTERM (default: %(default)g)",
    )
    parser.add_argument(
        "--linger-seconds",
        type=seconds,
        default=0.0,
        help="how long to go on after SIGTERM at most, as long as requests come within --accept-seconds of each other "
        "(default: %(default)g)",
    )
    parser.add_argument(
        "--drain-seconds",
        type=seconds,
        default=20.0,
        help="how long requests in flight may take after that (default: %(default)g)",
    )
    parser.add_argument(
        "--queue",
        type=positive,
        default=256,
        help="requests that wait or run at once; 503 above (default: %(default)s)",
    )
    parser.add_argument(
        "--run-unready-seconds",
        type=seconds,
        default=patience.run_unready,
        help="how long one run of the model may take before the server is not ready (default: %(default)g)",
    )
    parser.add_argument(
        "--run-dead-seconds",
        type=seconds,
        default=patience.run_dead,
        help="how long one run of the model may take before the server is not live (default: %(default)g)",
    )
    parser.add_argument(
        "--batch-latency-ms",
        type=seconds,
        default=0.0,
        help="how long a run waits for requests that are likely to come, to run them together (milliseconds); "
        "0: each is run alone (default: %(default)g)",
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=None,
        help="the largest batch that requests are run in together, --max-batch at most (default: --max-batch)",
    )
    add_judging(parser)
    add_feedback(parser)
    add_sampling(parser)


def _add_selftest(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_selftest)
    add_gates(parser)


def _serve(options: argparse.Namespace) -> int:
    # Imported here: the self-test needs neither the servers nor their memory.
    from edgesmith_runtime.batching import Batching  # noqa: PLC0415 - see above
    from edgesmith_runtime.serve import Settings, serve  # noqa: PLC0415 - see above

    status = serve(
        Settings(
            bundle=options.bundle,
            name=options.name,
            host=options.host,
            http_port=options.http_port,
            grpc_port=options.grpc_port,
            threads=options.threads or default_threads(),
            accept_seconds=options.accept_seconds,
            linger_seconds=options.linger_seconds,
            drain_seconds=options.drain_seconds,
            queue=options.queue,
            termination_log=options.termination_log,
            limits=_limits(options),
            patience=Patience(run_unready=options.run_unready_seconds, run_dead=options.run_dead_seconds),
            judging=judging_of(options),
            feedback=feedback_of(options),
            batching=Batching(
                options.batch_latency_ms / 1000, min(options.max_batch, options.batch_size or options.max_batch)
            ),
        )
    )
    logging.shutdown()
    # A run that outlasted the drain, or a model still loading, must not keep the process.
    os._exit(status)


def _selftest(options: argparse.Namespace) -> int:
    # Imported here: an engine takes half a second, which `--help` should not.
    from edgesmith_runtime.selftest import self_test  # noqa: PLC0415 - see above

    end_at_sigterm()
    finding = self_test(
        options.bundle,
        threads=options.threads or default_threads(),
        limits=_limits(options),
        max_latency_ms=options.max_latency_ms,
        max_memory_bytes=options.max_memory_bytes,
        before_loading=end_within_native_code,
    )
    return report(finding, options.termination_log, always=options.report)


def _limits(options: argparse.Namespace) -> Limits:
    return limits_of(options.max_batch, options.max_body_mib, options.max_pending_mib)
