"""How the operator was installed, read from its environment or from the ConfigMap that the chart keeps it in.

The chart's ConfigMap has the names of the environment variables as its keys, so the operator (`envFrom`) and the CLI
(which reads the ConfigMap) cannot disagree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from edgesmith.cluster.client import Client
from edgesmith.cluster.kinds import CONFIG_MAP
from edgesmith.decide.settings import Settings
from edgesmith_builder.oci import Reference, Repository, trusting
from edgesmith_builder.signatures import public_key

CONFIG_MAP_NAME = "edgesmith-settings"

_NAMESPACE = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"

REQUIRED_FLAVOUR = "onnxruntime"
"""The runtime base image that every installation has."""

VARIABLES = {
    "EDGESMITH_RUNTIME_IMAGES": (
        "Runtime base images by flavour: a JSON object of `REGISTRY/NAME@sha256:HEX`, `onnxruntime` among them. "
        "Required."
    ),
    "EDGESMITH_BUILDER_ENABLED": (
        "`false`: no builds are made and no files looked at; the operator waits for what another installation builds. "
        "Default `true`."
    ),
    "EDGESMITH_BUILDER_IMAGE": "Image of build Jobs by digest. Required where builds are made.",
    "EDGESMITH_OPERATOR_IMAGE": "The operator's own image, which `edgesmith archive export` takes along.",
    "EDGESMITH_BUILDER_IMAGES": (
        "Images of build Jobs of toolchains that compile with a vendor's packages, by flavour (`qnn`): a JSON object "
        "of `REGISTRY/NAME@sha256:HEX`. Default `{}`."
    ),
    "EDGESMITH_REPOSITORY": "Where variant images go, `REGISTRY/PREFIX`; the namespace and name are added. Required.",
    "EDGESMITH_PLAIN_HTTP": "`true`: speak HTTP to the registry. Default `false`.",
    "EDGESMITH_PULL_SECRET": "dockerconfigjson Secret in the EdgeModel's namespace that its pods pull images with.",
    "EDGESMITH_PUSH_SECRET": "dockerconfigjson Secret in the EdgeModel's namespace that its build Jobs push with.",
    "EDGESMITH_REGISTRY_CA": "Certificates in PEM of authorities to trust for the registry, besides the public ones.",
    "EDGESMITH_SIGNING_SECRET": "Secret in the EdgeModel's namespace with the key that its build Jobs sign with.",
    "EDGESMITH_SIGNING_PUBLIC_KEY": "Public key in PEM that images are held against where the policy is `Require`.",
    "EDGESMITH_SIGNING_POLICY": (
        "`Require`: an image without a signature by the public key is not rolled out. Default `None`."
    ),
    "EDGESMITH_BUCKET_ENDPOINT": "S3 endpoint for EdgeModels without a credentials Secret.",
    "EDGESMITH_BUCKET_CA": (
        "Certificates in PEM of authorities to trust for buckets and servers at https://, besides the public ones."
    ),
    "EDGESMITH_BUILDER_SERVICE_ACCOUNT": "ServiceAccount of build Jobs in the EdgeModel's namespace.",
    "EDGESMITH_BUILDER_NODE_SELECTOR": "Where build Jobs run: a JSON object of labels. Default `{}`.",
    "EDGESMITH_BUILDER_RESOURCES": "Requests and limits of build Jobs: a JSON object. Default `{}`.",
    "EDGESMITH_NAMESPACES": "Namespaces to work in, separated by commas; the operator's own is added. Default: all.",
    "EDGESMITH_NODE_GRACE_SECONDS": (
        "The cluster's --node-monitor-grace-period: for how many seconds a dead node is taken for ready. Default 50."
    ),
    "EDGESMITH_BUILDER_DEADLINE_SECONDS": "Seconds that a build may take on its node. Default 3600.",
    "EDGESMITH_BUILDER_MAX_CONCURRENT": "Most build Jobs at once, over all EdgeModels: 1 or more. Default 10.",
    "EDGESMITH_REVISION_HISTORY_LIMIT": "Revisions without a node that are kept, per variant. Default 3.",
}
"""Every setting with its meaning; a test holds the documentation to it."""


class SettingsError(ValueError):
    """A setting is missing or cannot be read; the message names it, its value and what was expected."""


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: One is missing or cannot be read.
    """
    builds = _flag(environment, "EDGESMITH_BUILDER_ENABLED", default=True)
    try:
        return Settings(
            runtime_images=_runtime_images(environment, "EDGESMITH_RUNTIME_IMAGES"),
            builder_image=_image(environment, "EDGESMITH_BUILDER_IMAGE") if builds else None,
            operator_image=environment.get("EDGESMITH_OPERATOR_IMAGE") or None,
            builds=builds,
            builder_images=_images(environment, "EDGESMITH_BUILDER_IMAGES"),
            repository=_repository(environment, "EDGESMITH_REPOSITORY"),
            plain_http=_flag(environment, "EDGESMITH_PLAIN_HTTP"),
            pull_secret=environment.get("EDGESMITH_PULL_SECRET") or None,
            push_secret=environment.get("EDGESMITH_PUSH_SECRET") or None,
            registry_ca=_authorities(environment, "EDGESMITH_REGISTRY_CA"),
            signing_secret=environment.get("EDGESMITH_SIGNING_SECRET") or None,
            signing_public_key=_public_key(environment),
            signatures_required=_signatures_required(environment),
            bucket_endpoint=environment.get("EDGESMITH_BUCKET_ENDPOINT") or None,
            bucket_ca=_authorities(environment, "EDGESMITH_BUCKET_CA"),
            builder_service_account=environment.get("EDGESMITH_BUILDER_SERVICE_ACCOUNT") or None,
            builder_node_selector=_labels(environment, "EDGESMITH_BUILDER_NODE_SELECTOR"),
            builder_resources=_json_object(environment, "EDGESMITH_BUILDER_RESOURCES"),
            builder_deadline_seconds=_count(environment, "EDGESMITH_BUILDER_DEADLINE_SECONDS", 3600),
            namespaces=namespaces_in(environment),
            node_grace_seconds=_count(environment, "EDGESMITH_NODE_GRACE_SECONDS", 50),
            max_concurrent_builds=_count(environment, "EDGESMITH_BUILDER_MAX_CONCURRENT", 10, least=1),
            revision_history_limit=_count(environment, "EDGESMITH_REVISION_HISTORY_LIMIT", 3),
        )
    except KeyError as error:
        raise SettingsError(
            f"{error.args[0]} is not set; {VARIABLES[error.args[0]].partition('.')[0]} was expected"
        ) from None


def namespaces_in(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Where to work, as it is written; empty for every namespace.

    Raises:
        SettingsError: One is no namespace.
    """
    text = environment.get("EDGESMITH_NAMESPACES", "")
    names = {name.strip() for name in text.split(",") if name.strip()}
    if any(not re.fullmatch(_NAMESPACE, name) for name in names):
        raise SettingsError(f"EDGESMITH_NAMESPACES is {text!r}; names of namespaces separated by commas were expected")
    return tuple(sorted(names))


async def installed_settings(client: Client, namespace: str) -> dict[str, str]:
    """The settings in an installed operator's ConfigMap; empty where there is none.

    Raises:
        ClusterError: It could not be read.
    """
    found = await client.get(CONFIG_MAP, namespace, CONFIG_MAP_NAME)
    data = (found or {}).get("data") or {}
    return {key: value for key, value in data.items() if key in VARIABLES}


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise KeyError(name)
    return value


def _image(environment: Mapping[str, str], name: str) -> str:
    return _pinned(name, _required(environment, name))


def _runtime_images(environment: Mapping[str, str], name: str) -> dict[str, str]:
    _required(environment, name)
    images = _images(environment, name)
    if REQUIRED_FLAVOUR not in images:
        raise SettingsError(f"{name} has {', '.join(images) or 'nothing'}; {REQUIRED_FLAVOUR} was expected among them")
    return images


def _images(environment: Mapping[str, str], name: str) -> dict[str, str]:
    return {flavour: _pinned(f"{name}.{flavour}", image) for flavour, image in _labels(environment, name).items()}


def _pinned(name: str, value: str) -> str:
    try:
        pinned = Reference.parse(value).digest
    except ValueError as error:
        raise SettingsError(f"{name} is not an image: {error}") from None
    if not pinned:
        # Builds are keyed by the base's digest: under a tag, the same key would stand for other bytes tomorrow.
        raise SettingsError(f"{name} is {value!r}; an image by digest was expected: REGISTRY/NAME@sha256:HEX")
    return value


def _repository(environment: Mapping[str, str], name: str) -> str:
    value = _required(environment, name)
    try:
        return str(Repository.parse(value))
    except ValueError as error:
        raise SettingsError(f"{name} is not a repository: {error}") from None


def _authorities(environment: Mapping[str, str], name: str) -> str | None:
    value = environment.get(name, "").strip()
    if not value:
        return None
    try:
        trusting(value)
    except ValueError as error:
        raise SettingsError(f"{name} is no certificate: {error}") from None
    return value


def _public_key(environment: Mapping[str, str]) -> str | None:
    key = environment.get("EDGESMITH_SIGNING_PUBLIC_KEY", "").strip()
    if not key:
        return None
    try:
        public_key(key)
    except ValueError as error:
        raise SettingsError(f"EDGESMITH_SIGNING_PUBLIC_KEY cannot be used: {error}") from None
    return key


def _signatures_required(environment: Mapping[str, str]) -> bool:
    policy = environment.get("EDGESMITH_SIGNING_POLICY", "").strip()
    if policy not in ("", "None", "Require"):
        raise SettingsError(f"EDGESMITH_SIGNING_POLICY is {policy!r}; None or Require was expected")
    if policy == "Require" and not environment.get("EDGESMITH_SIGNING_PUBLIC_KEY", "").strip():
        raise SettingsError(
            "EDGESMITH_SIGNING_POLICY is 'Require' but EDGESMITH_SIGNING_PUBLIC_KEY is not set; "
            "the public key to hold images against was expected"
        )
    return policy == "Require"


def _flag(environment: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    value = environment.get(name, "").strip().lower() or ("true" if default else "false")
    if value not in ("true", "false"):
        raise SettingsError(f"{name} is {value!r}; true or false was expected")
    return value == "true"


def _count(environment: Mapping[str, str], name: str, default: int, *, least: int = 0) -> int:
    value = environment.get(name, "").strip()
    if not value:
        return default
    if not re.fullmatch("[0-9]{1,9}", value) or int(value) < least:
        raise SettingsError(f"{name} is {value[:32]!r}; a whole number from {least} to 999999999 was expected")
    return int(value)


def _json_object(environment: Mapping[str, str], name: str) -> dict[str, Any]:
    value = environment.get(name, "").strip()
    try:
        found = json.loads(value) if value else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SettingsError(f"{name} is {value!r}; a JSON object was expected")
    return found


def _labels(environment: Mapping[str, str], name: str) -> dict[str, str]:
    found = _json_object(environment, name)
    if not all(isinstance(value, str) for value in found.values()):
        raise SettingsError(f"{name} is {found!r}; a JSON object of strings was expected")
    return found
