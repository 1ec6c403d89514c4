"""The command line: files and a folder in, an image by digest or a termination message out.

The last line of stdout is the image: the first finalist, or, where the request has gates, the first that keeps them.
The termination log gets a `BuildResult` or a `BuildFailure` as its only line.
Exit codes: 0 built or found; 1 failed, and somebody must change something; 2 failed, and a retry can help;
143 stopped by SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import FrameType

from pydantic import ValidationError

from edgesmith_builder.build import Built, build
from edgesmith_builder.contract import BuildFailure, BuildRequest, BuildResult, Gates
from edgesmith_builder.errors import GatesFailed, RequestInvalid, failure_of
from edgesmith_builder.gates import judge
from edgesmith_builder.maker import Maker
from edgesmith_builder.oci import Credentials, Reference, trusting
from edgesmith_builder.progress import log_to_stderr
from edgesmith_builder.push import Registries, registries_for
from edgesmith_builder.signatures.private import PrivateKey
from edgesmith_builder.source import Artifacts, Bucket, FirstOf, Sources, StoreSettings, Web, WebLogin, source_logins
from edgesmith_builder.toolchain import Compiler

log = logging.getLogger(__name__)

REQUEST_LIMIT = 1 << 20
"""Bytes of a request."""

PASSWORD = "COSIGN_PASSWORD"  # noqa: S105 - its name, which is cosign's own
"""The variable with the password of the key that images are signed with."""

_TERMINATED = 143


class Stopped(SystemExit):
    """SIGTERM came. Not an Exception, so nothing on the way out takes it for a failed build."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one build and return its exit code."""
    options = _parser().parse_args(arguments)
    log_to_stderr()
    signal.signal(signal.SIGTERM, _stop)
    try:
        request = read_request(options.request)
        built = _run(request, options, os.environ)
        image = chosen(built, request.gates)
    except Stopped:
        message = "the builder was stopped by SIGTERM before it was done; it can be started again"
        _say(options.termination_log, BuildFailure(reason="Internal", message=message, retry=True).to_json())
        log.warning("%s", message)
        return _TERMINATED
    except Exception as error:  # the one place where whatever went wrong becomes the message that the operator reads
        failure = failure_of(error)
        trace = error if failure.reason == "Internal" else None
        log.error("%s: %s", failure.reason, failure.message, exc_info=trace)  # noqa: TRY400 - a trace explains bugs only
        _say(options.termination_log, failure.to_json())
        return 2 if failure.retry else 1
    _say(options.termination_log, BuildResult(image=built.image).to_json())
    sys.stdout.write(image + "\n")
    return 0


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


def _run(request: BuildRequest, options: argparse.Namespace, environment: Mapping[str, str]) -> Built:
    credentials = _credentials(options.registry_credentials)
    maker = Maker(_key(options.signing_key, environment.get(PASSWORD)), _pinned(options.builder_image))
    bucket_ca, registry_ca = (
        _authorities("--bucket-ca", options.bucket_ca),
        _authorities("--registry-ca", options.registry_ca),
    )
    logins = FirstOf((source_logins(options.credentials, environment), credentials))
    sources = Sources(
        {
            "s3": Bucket(StoreSettings.read(options.credentials, environment, bucket_ca)),
            "https": Web(WebLogin.read(options.credentials, environment), bucket_ca),
            "oci": Artifacts(logins, registry_ca, plain=plain_registries(request)),
        }
    )
    clients = registries_for(request, credentials, authorities=registry_ca)
    if options.work is not None and not options.work.is_dir():
        raise RequestInvalid(f"--work {options.work} is not a folder; one that is there was expected")
    compiler = Compiler(options.compiler) if options.compiler is not None else None
    with tempfile.TemporaryDirectory(prefix="build-", dir=options.work) as work:
        return asyncio.run(
            _build(request, sources, clients, Path(work), threads=options.threads, maker=maker, compiler=compiler)
        )


async def _build(
    request: BuildRequest,
    sources: Sources,
    clients: AbstractAsyncContextManager[Registries],
    work: Path,
    *,
    threads: int,
    maker: Maker,
    compiler: Compiler | None,
) -> Built:
    async with clients as registries:
        return await build(request, sources, registries, work, threads=threads, maker=maker, compiler=compiler)


def read_request(path: Path) -> BuildRequest:
    """Read a request.

    Raises:
        RequestInvalid: naming the first field that is wrong.
    """
    try:
        with path.open("rb") as file:
            text = file.read(REQUEST_LIMIT)
    except OSError as error:
        raise RequestInvalid(f"--request {path} cannot be read ({error.strerror}); a file was expected") from error
    try:
        return BuildRequest.model_validate_json(text)
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
        return Credentials.from_file(path)
    except OSError as error:
        raise RequestInvalid(
            f"--registry-credentials {path} cannot be read ({error.strerror}); a .dockerconfigjson was expected"
        ) from error
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
    """The certificates in a file."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
        trusting(text)
    except (OSError, ValueError) as error:
        raise RequestInvalid(f"{flag} {path} cannot be used ({error}); certificates in PEM were expected") from error
    return text


def _stop(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the way out is not interrupted
    raise Stopped(_TERMINATED)


def _say(path: Path | None, line: str) -> None:
    """Write the termination message, where there is a place for one."""
    if path is None:
        return
    try:
        path.write_text(line + "\n", encoding="utf-8")
    except OSError as error:
        log.warning("--termination-log %s cannot be written (%s)", path, error.strerror)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m edgesmith_builder", description="Build one variant of a model.")
    add = parser.add_argument
    add("--request", type=Path, required=True, help="the BuildRequest, a JSON file")
    add("--credentials", type=Path, help="folder with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, "
        "AWS_REGION and AWS_SESSION_TOKEN, HTTPS_HOST, HTTPS_TOKEN, HTTPS_USERNAME and HTTPS_PASSWORD, and "
        ".dockerconfigjson as files; what is missing there is taken from the environment")  # fmt: skip
    add("--registry-credentials", type=Path, help="a .dockerconfigjson; without, the registry is asked anonymously")
    add(
        "--registry-ca",
        type=Path,
        help="certificates in PEM of authorities to trust for registries, besides the public ones",
    )
    add("--bucket-ca", type=Path, help="the same for buckets and https servers")
    add("--signing-key", type=Path, help="private key to sign images with, in PEM or as cosign writes it; its "
        f"password is taken from the variable {PASSWORD}; without, images are not signed")  # fmt: skip
    add("--builder-image", help="the image that this program runs in, by digest, for the provenance")
    add("--termination-log", type=Path, help="where to leave the result for Kubernetes: /dev/termination-log")
    add("--work", type=Path, help="folder for temporary files; the system's own by default")
    add("--compiler", type=Path, help="folder that is shared with a container that compiles, for toolchains whose "
        "compiler is not part of the builder")  # fmt: skip
    add("--threads", type=int, default=len(os.sched_getaffinity(0)), help="cores to score with")
    return parser
