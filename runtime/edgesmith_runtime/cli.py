"""The command line: ``serve`` and ``selftest``."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.device import bound_heap, default_threads, memory_limit
from edgesmith_runtime.health import Patience
from edgesmith_runtime.http.limits import MEBIBYTE, Limits
from edgesmith_runtime.logs import set_up_logging

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["build_parser", "main"]

_TERMINATION_LOG: Final = Path("/dev/termination-log")
_LARGEST_PORT: Final = 65535


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
    parser = argparse.ArgumentParser(prog="edgesmith_runtime", description="Serves one model bundle on an edge node.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared, limits = argparse.ArgumentParser(add_help=False), Limits()
    shared.add_argument(
        "--bundle", type=Path, default=Path("/model"), help="the bundle's folder (default: %(default)s)"
    )
    shared.add_argument(
        "--threads", type=_positive, default=None, help="cores to compute with (default: the container's CPU limit)"
    )
    shared.add_argument(
        "--max-batch",
        type=_positive,
        default=limits.batch,
        help="the largest batch of a request; 400 above (default: %(default)s)",
    )
    shared.add_argument(
        "--max-body-mib",
        type=_positive,
        default=limits.body // MEBIBYTE,
        help="the longest request in MiB; 413 above (default: %(default)s)",
    )
    shared.add_argument(
        "--max-pending-mib",
        type=_positive,
        default=None,
        help="requests in memory at once in MiB; 503 above "
        f"(default: {limits.bodies // MEBIBYTE}, or a quarter of the container's memory limit where that is less)",
    )
    shared.add_argument(
        "--termination-log",
        type=Path,
        default=_TERMINATION_LOG,
        help="where findings are left for the kubelet (default: %(default)s)",
    )
    _add_serve(commands.add_parser("serve", parents=[shared], help="serve the bundle over HTTP and gRPC"))
    _add_selftest(commands.add_parser("selftest", parents=[shared], help="test the bundle on this device"))
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    patience = Patience()
    parser.set_defaults(run=_serve)
    parser.add_argument("--host", default="", help="the address to listen on (default: all)")
    parser.add_argument("--http-port", type=_port, default=8000, help="the HTTP port (default: %(default)s)")
    parser.add_argument("--grpc-port", type=_port, default=8001, help="the gRPC port (default: %(default)s)")
    parser.add_argument(
        "--accept-seconds",
        type=_seconds,
        default=3.0,
        help="how long new requests are taken after SIGTERM (default: %(default)g)",
    )
    parser.add_argument(
        "--drain-seconds",
        type=_seconds,
        default=20.0,
        help="how long requests in flight may take after that (default: %(default)g)",
    )
    parser.add_argument(
        "--queue",
        type=_positive,
        default=256,
        help="requests that wait or run at once; 503 above (default: %(default)s)",
    )
    parser.add_argument(
        "--run-unready-seconds",
        type=_seconds,
        default=patience.run_unready,
        help="how long one run of the model may take before the server is not ready (default: %(default)g)",
    )
    parser.add_argument(
        "--run-dead-seconds",
        type=_seconds,
        default=patience.run_dead,
        help="how long one run of the model may take before the server is not live (default: %(default)g)",
    )


def _add_selftest(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_selftest)
    parser.add_argument("--max-latency-ms", type=_seconds, help="fail when the p95 of one run is above (milliseconds)")
    parser.add_argument("--max-memory-bytes", type=_positive, help="fail when the peak resident memory is above")
    parser.add_argument(
        "--report", action="store_true", help="end with 0 whatever was found: what is left for the kubelet says it"
    )


def _serve(options: argparse.Namespace) -> int:
    # Imported here: the self-test needs neither the servers nor their memory.
    from edgesmith_runtime.serve import Settings, serve  # noqa: PLC0415 - see above

    status = serve(
        Settings(
            bundle=options.bundle,
            host=options.host,
            http_port=options.http_port,
            grpc_port=options.grpc_port,
            threads=options.threads or default_threads(),
            accept_seconds=options.accept_seconds,
            drain_seconds=options.drain_seconds,
            queue=options.queue,
            termination_log=options.termination_log,
            limits=_limits(options),
            patience=Patience(run_unready=options.run_unready_seconds, run_dead=options.run_dead_seconds),
        )
    )
    logging.shutdown()
    # A run that outlasted the drain, or a model still loading, must not keep the process.
    os._exit(status)


def _limits(options: argparse.Namespace) -> Limits:
    bodies = _pending(memory_limit()) if options.max_pending_mib is None else options.max_pending_mib * MEBIBYTE
    return Limits(body=min(options.max_body_mib * MEBIBYTE, bodies), bodies=bodies, batch=options.max_batch)


def _pending(memory: int | None) -> int:
    """How many bytes of requests may be in memory, where the container may have so many in all."""
    bodies = Limits().bodies
    return bodies if memory is None else max(MEBIBYTE, min(bodies, memory // 4))


def _selftest(options: argparse.Namespace) -> int:
    # Imported here: an engine takes half a second, which `--help` should not.
    from edgesmith_runtime.selftest import self_test  # noqa: PLC0415 - see above
    from edgesmith_runtime.termination import write_termination  # noqa: PLC0415 - see above

    finding = self_test(
        options.bundle,
        threads=options.threads or default_threads(),
        limits=_limits(options),
        max_latency_ms=options.max_latency_ms,
        max_memory_bytes=options.max_memory_bytes,
    )
    document = finding.document()
    sys.stdout.write(json.dumps(document, sort_keys=True) + "\n")
    try:
        write_termination(options.termination_log, finding, create=True)
    except OSError as error:
        logging.getLogger(__name__).error("%s cannot be written: %s", options.termination_log, error.strerror)  # noqa: TRY400 - the sentence says all
        return 1
    return 0 if finding.passed or options.report else 1


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is below 1; expected a whole number from 1")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= _LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected 0 to {_LARGEST_PORT}")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is out of range; expected a number from 0")
    return value
