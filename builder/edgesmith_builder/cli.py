"""The command line: files and a folder in, an image by digest or a termination message out.

The last line of stdout is the image: the first finalist, or, where the request has gates, the first that keeps them.
The termination log gets a `BuildResult` or a `BuildFailure` as its only line.
`resolve` as the first word looks at files instead: a `ResolveRequest` in, a `ResolveResult` or a `BuildFailure` out.
Exit codes: 0 built or found; 1 failed, and somebody must change something; 2 failed, and a retry can help;
143 stopped by SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar

from pydantic import ValidationError

from edgesmith_builder.arguments import PASSWORD, parse
from edgesmith_builder.build import Built, build, still_there
from edgesmith_builder.contract import BuildFailure, BuildRequest, BuildResult, Gates, ResolveRequest
from edgesmith_builder.errors import GatesFailed, RequestInvalid, failure_of
from edgesmith_builder.gates import judge
from edgesmith_builder.lastwords import littering
from edgesmith_builder.maker import Maker
from edgesmith_builder.oci import Credentials, Reference
from edgesmith_builder.oci.trust import authorities_in
from edgesmith_builder.outcome import TERMINATED, say, say_failure
from edgesmith_builder.progress import log_to_stderr
from edgesmith_builder.push import Registries, registries_for
from edgesmith_builder.resolve import resolve
from edgesmith_builder.running import run
from edgesmith_builder.signatures.private import PrivateKey
from edgesmith_builder.source import Artifacts, Bucket, FirstOf, Sources, StoreSettings, Web, WebLogin, source_logins
from edgesmith_builder.toolchain import Compiler
from edgesmith_runtime.descriptors import raise_descriptor_limit

log = logging.getLogger(__name__)

REQUEST_LIMIT = 1 << 20
"""Bytes of a request."""

_Request = TypeVar("_Request", BuildRequest, ResolveRequest)


class Stopped(SystemExit):
    """SIGTERM came. Not an Exception, so nothing on the way out takes it for a failed build."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one build, or one look at files, and return its exit code."""
    options = parse(list(sys.argv[1:] if arguments is None else arguments))
    log_to_stderr()
    raise_descriptor_limit()  # each array of a set is a file that stays open
    signal.signal(signal.SIGTERM, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # `run_apart` has it wait until it can be taken
    try:
        said, result = (_look if options.resolve else _run)(options, os.environ)
    except Stopped:
        message = "the builder was stopped by SIGTERM before it was done; it can be started again"
        say(options.termination_log, BuildFailure(reason="Internal", message=message, retry=True).to_json())
        log.warning("%s", message)
        return TERMINATED
    except Exception as error:  # noqa: BLE001 - the one place where whatever went wrong becomes what the operator reads
        failure = failure_of(error)
        trace = error if failure.reason == "Internal" else None  # a trace explains bugs only
        return say_failure(options.termination_log, failure, trace)
    say(options.termination_log, result)
    sys.stdout.write(said + "\n")
    return 0


def _run(options: argparse.Namespace, environment: Mapping[str, str]) -> tuple[str, str]:
    """Build; the image to use, and what the operator is told."""
    request = read_request(options.request, BuildRequest)
    credentials = _credentials(options.registry_credentials)
    maker = Maker(_key(options.signing_key, environment.get(PASSWORD)), _pinned(options.builder_image))
    registry_ca = _authorities("--registry-ca", options.registry_ca)
    sizes = {request.field(role): size for role, size in request.sizes.items()}
    sources = _sources(options, environment, credentials, plain_registries(request), sizes)
    clients = registries_for(request, credentials, authorities=registry_ca)
    compiler = Compiler(options.compiler) if options.compiler is not None else None
    with _work(options) as work:
        image, result = run(
            _build(request, sources, clients, work, threads=options.threads, maker=maker, compiler=compiler)
        )
    return image, result.to_json()


def chosen(built: Built, gates: Gates | None) -> str:
    """The image to use: the first finalist, or the first that keeps the gates. What they say of each goes to the log.

    Raises:
        GatesFailed: where none keeps them.
    """
    if gates is None:
        return built.image
    judged = judge(built.report, gates)
    for finalist in judged.finalists:
        log.info("%s: keeps the gates%s", finalist.precision, "".join(f"; {words}" for words in finalist.warnings))
    for precision, why in judged.refused.items():
        log.info("%s: is out, %s", precision, why)
    if not judged.finalists:
        out = [one.model_copy(update={"rejected": judged.refused[one.precision]}) for one in built.report.candidates]
        raise GatesFailed(f"no candidate keeps the gates: {judged.words}", tuple(out))
    repository, digest = built.image.partition("@")[0], judged.finalists[0].digest
    return f"{repository}@{digest}" if digest else built.image


def _look(options: argparse.Namespace, environment: Mapping[str, str]) -> tuple[str, str]:
    """Look at files; what was found, and what the operator is told, which is the same."""
    request = read_request(options.request, ResolveRequest)
    credentials = _credentials(options.registry_credentials)
    sources = _sources(options, environment, credentials, request.plain_registries, {})
    with _work(options) as work:
        found = resolve(request, sources, work).to_json()
    return found, found


def _sources(
    options: argparse.Namespace,
    environment: Mapping[str, str],
    credentials: Credentials,
    plain: Collection[str],
    sizes: Mapping[str, int],
) -> Sources:
    """Every place that files come from."""
    bucket_ca = _authorities("--bucket-ca", options.bucket_ca)
    registry_ca = _authorities("--registry-ca", options.registry_ca)
    logins = FirstOf((source_logins(options.credentials, environment), credentials))
    return Sources(
        {
            "s3": Bucket(StoreSettings.read(options.credentials, environment, bucket_ca)),
            "https": Web(WebLogin.read(options.credentials, environment), bucket_ca),
            "oci": Artifacts(logins, registry_ca, plain=plain),
        },
        sizes,
    )


@contextmanager
def _work(options: argparse.Namespace) -> Iterator[Path]:
    """A folder for temporary files that ends with its block."""
    if options.work is not None and not options.work.is_dir():
        raise RequestInvalid(f"--work {options.work} is not a folder; one that is there was expected")
    with tempfile.TemporaryDirectory(prefix="build-", dir=options.work) as work, littering(Path(work)):
        yield Path(work)


async def _build(
    request: BuildRequest,
    sources: Sources,
    clients: AbstractAsyncContextManager[Registries],
    work: Path,
    *,
    threads: int,
    maker: Maker,
    compiler: Compiler | None,
) -> tuple[str, BuildResult]:
    """The image to use, and what the operator is told."""
    async with clients as registries:
        found = await still_there(request, registries, maker)
        if found is not None:
            return found, BuildResult(image=found)
        built = await build(request, sources, registries, work, threads=threads, maker=maker, compiler=compiler)
    return chosen(built, request.gates), BuildResult(image=built.image, made=not built.cached)


def read_request(path: Path, kind: type[_Request]) -> _Request:
    """Read a request.

    Args:
        path: The file.
        kind: What is asked for.

    Raises:
        RequestInvalid: naming the first field that is wrong.
    """
    try:
        with path.open("rb") as file:
            text = file.read(REQUEST_LIMIT)
    except OSError as error:
        raise RequestInvalid(f"--request {path} cannot be read ({error.strerror}); a file was expected") from error
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the request"
        value = json.dumps(first["input"], default=str)[:200]
        raise RequestInvalid(f"{field} is {value}: {first['msg']}") from error


def plain_registries(request: BuildRequest) -> tuple[str, ...]:
    """The registries that a source is asked of without TLS: the one that is pushed to, where that has none."""
    return (request.repository.partition("/")[0],) if request.plain_http else ()


def _credentials(path: Path | None) -> Credentials:
    if path is None:
        return Credentials()
    try:
        return Credentials.from_file(path, "--registry-credentials")
    except ValueError as error:
        raise RequestInvalid(str(error)) from error


def _key(path: Path | None, password: str | None) -> PrivateKey | None:
    """The key to sign with."""
    if path is None:
        return None
    try:
        return PrivateKey.from_pem(path.read_text(encoding="ascii"), password)
    except OSError as error:
        raise RequestInvalid(
            f"--signing-key {path} cannot be read ({error.strerror}); a private key in PEM was expected"
        ) from error
    except UnicodeDecodeError:
        raise RequestInvalid(f"--signing-key {path} is no text; a private key in PEM was expected") from None
    except ValueError as error:
        raise RequestInvalid(f"--signing-key {path} cannot be used: {error}") from None


def _pinned(image: str | None) -> str | None:
    """The image that this program runs in."""
    try:
        if image is None or Reference.parse(image).digest is not None:
            return image
    except ValueError:
        pass
    raise RequestInvalid(f"--builder-image is {image!r}; an image by digest was expected, REGISTRY/NAME@sha256:HEX")


def _authorities(flag: str, path: Path | None) -> str | None:
    try:
        return authorities_in(flag, path)
    except ValueError as error:
        raise RequestInvalid(str(error)) from error


def _stop(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the way out is not interrupted
    raise Stopped(TERMINATED)
