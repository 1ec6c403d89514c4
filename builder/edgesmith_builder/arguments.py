"""What the program can be told on its command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

RESOLVE = "resolve"
"""The first word where files are to be looked at."""

PASSWORD = "COSIGN_PASSWORD"  # noqa: S105 - its name, which is cosign's own
"""The variable with the password of the key that images are signed with."""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read a command line; `resolve` in what comes back says whether files are to be looked at instead of built."""
    resolving = list(words[:1]) == [RESOLVE]
    options = _resolve_parser().parse_args(words[1:]) if resolving else _build_parser().parse_args(words)
    options.resolve = resolving
    return options


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m edgesmith_builder",
        description="Build one variant of a model. `resolve` as the first word looks at files instead.",
    )
    _add_places(parser, "the BuildRequest, a JSON file")
    add = parser.add_argument
    add("--signing-key", type=Path, help="private key to sign images with, in PEM or as cosign writes it; its "
        f"password is taken from the variable {PASSWORD}; without, images are not signed")  # fmt: skip
    add("--builder-image", help="the image that this program runs in, by digest, for the provenance")
    add("--compiler", type=Path, help="folder that is shared with a container that compiles, for toolchains whose "
        "compiler is not part of the builder")  # fmt: skip
    add("--candidate-seconds", type=float, help="how long one candidate may take to be made and scored; one that takes "
        "longer is left out; without, as long as it likes")  # fmt: skip
    add("--threads", type=int, default=len(os.sched_getaffinity(0)), help="cores to score with")
    return parser


def _resolve_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python3 -m edgesmith_builder {RESOLVE}", description="Find out which bytes lie at URIs."
    )
    _add_places(parser, "the ResolveRequest, a JSON file")
    parser.set_defaults(candidate_seconds=None)
    return parser


def _add_places(parser: argparse.ArgumentParser, request: str) -> None:
    """What a build and a look are both told: what is asked, and how to reach where files are."""
    add = parser.add_argument
    add("--request", type=Path, required=True, help=request)
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
    add("--termination-log", type=Path, help="where to leave the result for Kubernetes: /dev/termination-log")
    add("--work", type=Path, help="folder for temporary files; the system's own by default")
