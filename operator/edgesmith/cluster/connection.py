"""Where the API server is and who we are there: inside a pod its service account, else a kubeconfig."""

from __future__ import annotations

import ast
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from edgesmith.cluster.errors import Unreachable
from edgesmith.cluster.proxy import proxy_of

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT_KUBECONFIG = "~/.kube/config"

# The client says that it is typed, and these two functions are not.
_load_incluster: Any = load_incluster_config
_load_kubeconfig: Any = load_kube_config

_client_log = logging.getLogger(load_kube_config.__module__)


@dataclass(frozen=True, slots=True)
class Identity:
    """What another client (the watcher's) needs to reach the same API server as the same user."""

    server: str
    ca_file: str | None
    insecure: bool
    certificate_file: str | None
    key_file: str | None
    token: str | None
    """Without the word Bearer before it."""
    proxy: str | None


@dataclass(frozen=True, slots=True)
class Connection:
    """A way to the API server."""

    configuration: Configuration
    namespace: str
    """Of the service account or of the kubeconfig's context; `default` where neither names one."""
    in_cluster: bool

    @property
    def server(self) -> str:
        """The API server's address."""
        return str(self.configuration.host)

    async def identity(self) -> Identity:
        """Who we are now: tokens are read anew, since the kubelet replaces them every hour."""
        configuration = self.configuration
        key = await configuration.get_api_key_with_prefix("BearerToken")
        return Identity(
            server=self.server,
            ca_file=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            certificate_file=configuration.cert_file,
            key_file=configuration.key_file,
            token=key.split()[-1] if key else None,
            proxy=configuration.proxy,
        )


async def connect(kubeconfig: str | None = None, context: str | None = None, *, outside: bool = False) -> Connection:
    """Find the API server.

    Args:
        kubeconfig: A kubeconfig's path; absent, KUBECONFIG or ~/.kube/config.
        context: One of its contexts; absent, the current one.
        outside: Take a kubeconfig even inside a pod.

    Raises:
        Unreachable: No configuration was found, or it cannot be read; one sentence says where was looked.
    """
    configuration = Configuration()
    if not (outside or kubeconfig or context) and (_SERVICE_ACCOUNT / "token").is_file():
        try:
            _load_incluster(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise Unreachable(f"The pod's service account cannot be used: {error}") from error
        namespace = (_SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
        return Connection(_as_kubectl(configuration), namespace or "default", in_cluster=True)
    return await _from_kubeconfig(configuration, kubeconfig, context)


async def _from_kubeconfig(configuration: Configuration, kubeconfig: str | None, context: str | None) -> Connection:
    where = kubeconfig or os.environ.get("KUBECONFIG") or _DEFAULT_KUBECONFIG
    if not _found(where):
        raise Unreachable(f"No cluster: the kubeconfig {where} {_lacking(where)}; set KUBECONFIG or pass --kubeconfig")
    try:
        with _errors_raised():
            loader = await _load_kubeconfig(
                config_file=os.pathsep.join(_parts(where)),
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
    except (ConfigException, OSError, yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:
        # The last two: the client takes for granted that it is a mapping with lists.
        shapeless = isinstance(error, TypeError | AttributeError)
        reason = "it has another form than a kubeconfig" if shapeless else " ".join(str(error).split())
        raise Unreachable(
            f"No cluster: the kubeconfig {where} cannot be used ({reason}); set KUBECONFIG or pass --kubeconfig"
        ) from error
    server = urlsplit(configuration.host)
    if server.scheme not in {"http", "https"} or not server.hostname:
        raise Unreachable(
            f"No cluster: the kubeconfig {where} names the server {configuration.host!r}; expected https://HOST:PORT"
        )
    current = loader.current_context or {}
    namespace = (current.get("context") or {}).get("namespace")
    return Connection(_as_kubectl(configuration), namespace or "default", in_cluster=False)


@contextmanager
def _errors_raised() -> Iterator[None]:
    """Raise what the client only logs, where it goes on without credentials: that a credential plugin fails.

    Raises:
        ConfigException: in the plugin's words.
    """
    said: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            said.append(record.getMessage())
        return record.levelno < logging.ERROR

    _client_log.addFilter(keep)
    try:
        yield
    finally:
        _client_log.removeFilter(keep)
    if said:
        raise ConfigException(f"no credentials from its exec plugin: {_plain(said[0])}")


def _plain(said: str) -> str:
    """What the client says of a plugin, whose own words it has as Python writes bytes."""
    what, _, quoted = said.partition(". b")
    try:
        words = ast.literal_eval(f"b{quoted}").decode(errors="replace") if quoted else ""
    except (ValueError, SyntaxError):
        return said
    return f"{what}: {words}" if words else what


def _as_kubectl(configuration: Configuration) -> Configuration:
    """Take the environment's proxy, and no password of a `.netrc`.

    aiohttp looks into that file for every request when it trusts the environment. A password for the API server's
    host, or for any host, would be sent to it, or make the request fail where there is a token.
    """
    configuration.proxy = proxy_of(configuration.host, configuration.proxy)
    configuration.client_session_kwargs = {"trust_env": False}
    return configuration


def _found(where: str) -> bool:
    """The client would say so on its own log and go on with an empty configuration."""
    return any(Path(part).is_file() for part in _parts(where))


def _lacking(where: str) -> str:
    return "is not a file" if any(Path(part).exists() for part in _parts(where)) else "does not exist"


def _parts(where: str) -> list[str]:
    """KUBECONFIG may be several paths with colons between them."""
    return [str(Path(part).expanduser()) for part in where.split(os.pathsep) if part]
