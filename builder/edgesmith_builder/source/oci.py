"""Files in registries: OCI artifacts as `oras push` makes them, and models packed as ModelPack has it, as plain files.

`org.opencontainers.image.title` (OCI image specification 1.1, annotations.md) and `org.cncf.model.filepath`
(modelpack/model-spec, docs/annotations.md) name the file that a layer is. `oras` marks a folder that it packed with
`io.deis.oras.content.unpack`, and gives every plain file the media type of a tar, so that alone says nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from edgesmith_builder.contract import Artifact
from edgesmith_builder.errors import BuildError, RequestInvalid, SourceForbidden, SourceNotFound, SourceUnreachable
from edgesmith_builder.oci import (
    Backoff,
    Credentials,
    Descriptor,
    Login,
    Logins,
    Manifest,
    Reference,
    Registry,
    RegistryError,
    RegistryForbidden,
    RegistryUnreachable,
    Repository,
)
from edgesmith_builder.oci.content import LAYER
from edgesmith_builder.source.arriving import PATIENCE, Arriving, Named, check_size, receive
from edgesmith_builder.source.held import held
from edgesmith_builder.source.interface import Fetched, Limit, Seen

CONFIG_FILE = ".dockerconfigjson"
"""The file of the credentials with logins, as a Secret of type kubernetes.io/dockerconfigjson has it."""
CONFIG_VARIABLE = "SOURCE_DOCKERCONFIGJSON"
"""The variable with the same, since a variable's name has no dot."""

_TITLES = ("org.opencontainers.image.title", "org.cncf.model.filepath")
_UNPACK = "io.deis.oras.content.unpack"
_EMPTY = "application/vnd.oci.empty.v1+json"
_SHOWN = 10
"""Most titles that a message lists."""

_T = TypeVar("_T")


class Artifacts:
    """Registries that hold models and data sets."""

    form = "oci://REGISTRY/NAME:TAG"

    def __init__(
        self,
        logins: Logins,
        authorities: str | None = None,
        *,
        plain: Collection[str] = (),
        patience: Backoff = PATIENCE,
    ) -> None:
        """Say who we are and what we trust; nothing is sent yet.

        Args:
            logins: Logins by registry.
            authorities: Certificates in PEM of authorities to trust besides the public ones.
            plain: Registries, `HOST[:PORT]`, that are spoken to without TLS.
            patience: How often next to nothing may come in a row.
        """
        self._logins = logins
        self._authorities = authorities
        self._plain = frozenset(plain)
        self._patience = patience

    def fetch(self, field: str, artifact: Artifact, target: Path, limit: Limit) -> Fetched:
        """Bring what a URI names into a file: the artifact's one layer, or the one whose title is behind `#`.

        Args:
            field: Where the request names it, for messages: `spec.source`.
            artifact: Which, with its sha256 where known.
            target: The file to write.
            limit: How large it may be.

        Raises:
            RequestInvalid: where the URI or the sha256 is none, the registry says no for good, or a layer is no file.
            SourceNotFound, SourceForbidden, SourceUnreachable: as the registry answers.
            DigestMismatch: where the bytes are others; before they are fetched, since the manifest says it.
        """
        wanted = _Wanted.parse(field, artifact)
        with wanted.told():
            manifest, layer = _apart(self._layer(wanted))
        named = Named(field, artifact, wanted.uri, str(wanted))
        named.check_digest(layer.digest.partition(":")[2])
        check_size(str(wanted), layer.size, limit)

        def read(arriving: Arriving) -> None:
            with wanted.told():
                _apart(self._stream(wanted, layer, arriving))

        fetched = receive(named, target, limit, read, self._patience)
        if "sha256:" + fetched.sha256 != layer.digest:
            raise RequestInvalid(f"{wanted} came with sha256:{fetched.sha256}; {layer.digest} was expected")
        return replace(fetched, validator=manifest.digest)

    def look(self, field: str, artifact: Artifact, limit: Limit) -> Seen:
        """Read the manifest alone: it has the digest of the file's bytes.

        Args:
            field: Where the request names it, for messages: `spec.source`.
            artifact: Which.
            limit: How large it may be.

        Raises:
            BuildError: as `fetch` has it, before the file is fetched.
        """
        wanted = _Wanted.parse(field, artifact)
        with wanted.told():
            manifest, layer = _apart(self._layer(wanted))
        check_size(str(wanted), layer.size, limit)
        return Seen(manifest.digest, layer.digest.partition(":")[2], layer.size)

    def _client(self, wanted: _Wanted) -> Registry:
        plain = wanted.reference.repository.registry in self._plain
        return Registry(plain, self._logins, backoff=self._patience, authorities=self._authorities)

    async def _layer(self, wanted: _Wanted) -> tuple[Manifest, Descriptor]:
        """The manifest, and the layer of it that is the file."""
        async with self._client(wanted) as client:
            found = await client.document(wanted.reference)
            if found is None:
                raise SourceNotFound(f"{wanted} does not exist; an artifact was expected there")
            if not isinstance(found, Manifest):
                raise RequestInvalid(f"{wanted} is an index of images; an artifact with one file was expected")
            layer = wanted.chosen(found)
            if not await client.has_blob(wanted.reference.repository, layer.digest):
                raise SourceNotFound(
                    f"{wanted} names {layer.digest}, which the registry does not have; it was expected"
                )
            return found, layer

    async def _stream(self, wanted: _Wanted, layer: Descriptor, arriving: Arriving) -> None:
        """The rest of a layer, in one attempt."""
        async with (
            self._client(wanted) as client,
            contextlib.aclosing(
                client.stream_blob(wanted.reference.repository, layer, offset=arriving.position)
            ) as pieces,
        ):
            async for piece in pieces:
                arriving.take(piece)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A file in a registry, as the request names it."""

    field: str
    uri: str
    reference: Reference
    title: str
    """Behind `#`; empty: the artifact's one file."""

    @classmethod
    def parse(cls, field: str, artifact: Artifact) -> _Wanted:
        """Read what a request names.

        Raises:
            RequestInvalid: where the URI is none.
        """
        name, _, title = artifact.uri.removeprefix("oci://").partition("#")
        try:
            reference = Reference.parse(name)
        except ValueError as error:
            raise RequestInvalid(
                f"{field}.uri is {artifact.uri!r}; oci://REGISTRY/NAME:TAG or oci://REGISTRY/NAME@sha256:HEX was "
                f"expected, with #FILE behind it where the artifact has several files ({error})"
            ) from error
        return cls(field, artifact.uri, reference, title)

    def __str__(self) -> str:
        return f"{self.field}.uri {self.uri}"

    def chosen(self, manifest: Manifest) -> Descriptor:
        """The layer that is the file.

        Raises:
            SourceNotFound: where none has the title.
            RequestInvalid: where it is not clear which, or the layer is an archive.
        """
        layers = [layer for layer in manifest.layers if layer.media_type != _EMPTY]
        titles = sorted(title for layer in layers for title in _titles(layer))
        listed = ", ".join(titles[:_SHOWN]) + (", …" if len(titles) > _SHOWN else "")
        if self.title:
            found = [layer for layer in layers if self.title in _titles(layer)]
            if not found:
                there = f"one of {listed}" if titles else "a layer with a title"
                raise SourceNotFound(f"{self} has no file {self.title!r}; {there} was expected behind #")
        else:
            found = layers
        if not found:
            raise SourceNotFound(f"{self} holds no file; an artifact with one was expected")
        if len({layer.digest for layer in found}) > 1:
            more = f", one of {listed}" if titles else ""
            raise RequestInvalid(f"{self} holds {len(found)} files; #FILE was expected behind it{more}")
        packed = _packed(found[0])
        if packed is not None:
            raise RequestInvalid(
                f"{self} is packed ({packed}); a layer that is the file itself was expected, as `oras push NAME FILE` "
                "makes it"
            )
        return found[0]

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Say of a registry's errors what they mean for a source."""
        try:
            yield
        except RegistryError as error:
            raise self._meaning(error) from error

    def _meaning(self, error: RegistryError) -> BuildError:
        if isinstance(error, RegistryUnreachable):
            return SourceUnreachable(f"{self} cannot be read: {error}", error.asked)
        if isinstance(error, RegistryForbidden):
            return SourceForbidden(
                f"{self} may not be read: {error}, in {CONFIG_FILE} of the Secret of spec.source.secretRef, or in "
                "the one that builds push with (registry.pushSecret of the chart)"
            )
        return RequestInvalid(f"{self} cannot be read: {error}")


@dataclass(frozen=True, slots=True)
class FirstOf:
    """Logins from several places; the first that has one for a repository decides."""

    places: tuple[Logins, ...]

    def login(self, repository: Repository) -> Login | None:
        """The login for a repository, or None."""
        found = (place.login(repository) for place in self.places)
        return next((login for login in found if login is not None), None)

    def elsewhere(self, repository: Repository) -> str | None:
        """What to say where a login is kept outside the credentials; None where none is."""
        if self.login(repository) is not None:
            return None
        said = (place.elsewhere(repository) for place in self.places)
        return next((words for words in said if words is not None), None)


def source_logins(folder: Path | None, environment: Mapping[str, str]) -> Credentials:
    """The source's own logins: from a folder with a file each, or else from a variable.

    Raises:
        RequestInvalid: where they are no `.dockerconfigjson`; without their content.
    """
    text = held(CONFIG_FILE, folder, {}) or environment.get(CONFIG_VARIABLE, "")
    try:
        return Credentials.from_json(text, f"{CONFIG_FILE} of the source's Secret") if text else Credentials()
    except ValueError as error:
        raise RequestInvalid(str(error)) from None


def _titles(layer: Descriptor) -> set[str]:
    return {layer.annotations[name] for name in _TITLES if layer.annotations.get(name)}


def _packed(layer: Descriptor) -> str | None:
    """What says that a layer is an archive of files; None where nothing does."""
    if layer.annotations.get(_UNPACK, "").lower() == "true":
        return "a folder"
    kind = layer.media_type
    return kind if kind != LAYER and kind.endswith((".tar", "+gzip", "+zstd", "+tar", ".gzip", "/tar")) else None


def _apart(work: Coroutine[Any, Any, _T]) -> _T:
    """Run it on a loop of its own: that of the caller waits for the caller. Whoever stops the caller stops it too."""
    started: list[Callable[[], object]] = []

    async def stoppable() -> _T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is not None:
            started.append(lambda: loop.call_soon_threadsafe(task.cancel))
        return await work

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(asyncio.run, stoppable())
        try:
            return future.result()
        except BaseException:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                for stop in started:
                    stop()
            raise
