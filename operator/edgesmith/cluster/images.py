"""What the registry says of builds. The registry is the database of builds: a key that resolves is never built again.

An image that is there stays what it is (its tag is the hash of everything that decides its bytes), so it is asked for
once. That there is none, or no answer, is believed for a few seconds only, and a registry that does not answer is asked
less and less often. An image that is there and may not be rolled out is looked for again, by a HEAD as long as it is
the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from itertools import groupby

from edgesmith.cluster.breaker import Breaker, Turn
from edgesmith.cluster.provenance import Answer, Bases, Wanted, checked, judged, with_finalists
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import Image, RegistryProblem
from edgesmith_builder.oci import (
    Backoff,
    Logins,
    Manifest,
    Reference,
    Registry,
    RegistryError,
    RegistryForbidden,
    RegistryUnreachable,
    Repository,
)
from edgesmith_builder.signatures import public_key

log = logging.getLogger(__name__)

ABSENT_SECONDS = 2.0
PROBLEM_SECONDS = 5.0
UNSHOWN_SECONDS = 60.0
LOOKUP_SECONDS = 4.0
"""For all look-ups of one pass."""
_LIMIT = 8192


def registry_of(settings: Settings, logins: Logins | None, *, attempts: int) -> Registry:
    """A client for the registry that builds go to; a context manager.

    Args:
        settings: How the operator was installed.
        logins: Who we are there; without, nobody.
        attempts: How often in a row to ask.
    """
    backoff = Backoff(attempts=attempts)
    return Registry(settings.plain_http, logins, backoff=backoff, authorities=settings.registry_ca)


class Images:
    """Looks builds up in a registry."""

    def __init__(self, registry: Registry, clock: Callable[[], float], signed_by: str | None = None) -> None:
        """Make a look-up.

        Args:
            registry: Where to ask; open.
            clock: Seconds that only grow.
            signed_by: A public key in PEM whose signature an image must have; None: none is looked for.

        Raises:
            ValueError: where `signed_by` is no such key.
        """
        self._registry = registry
        self._clock = clock
        self._key = public_key(signed_by) if signed_by else None
        self._breaker = Breaker(clock)
        self._there: dict[tuple[str, str], Image] = {}
        self._brief: dict[tuple[str, str], tuple[float, Answer]] = {}
        self._held: dict[tuple[str, str], Manifest] = {}
        """What lies under the tags of builds that may not be rolled out as it is, so is asked for again."""
        self._seen: dict[str, tuple[float, bool]] = {}
        """Images by digest: until when the answer counts, and whether it was that there is none."""
        self._layers: dict[str, Mapping[str, int]] = {}
        """By image."""
        self._unshown: dict[str, float] = {}
        """Images whose layers could not be had, with when to ask again."""
        self._bases = Bases(registry)

    async def look_up(
        self, repository: str, builds: Collection[Wanted], fresh: Collection[str] = ()
    ) -> Mapping[str, Answer]:
        """Ask for builds, for LOOKUP_SECONDS in all, however many they are.

        A registry that does not answer is not asked again for a while, by anybody, so that no pass waits for it.

        Args:
            repository: `REGISTRY/NAME` of an EdgeModel's images.
            builds: What is wanted, each with the digests that are known to be ours.
            fresh: Build keys of those whose absence must not come from memory: their Job has just ended.

        Returns:
            The answer by key. This never raises for what the registry does.
        """
        answers: dict[str, Answer] = {}
        wanted = {one.build.key: one for one in builds}
        for key, one in wanted.items():
            image = self._known(repository, one)
            until, brief = self._brief.get((repository, key), (0.0, None))
            if image is not None or (key not in fresh and self._clock() < until):
                answers[key] = image or brief
        unknown = [one for key, one in wanted.items() if key not in answers]
        if not unknown:
            return answers
        with self._breaker.turn(_registry(repository)) as turn:
            if turn is None:
                return answers | {one.build.key: self._last_problem(repository, one.build.key) for one in unknown}
            found = await self._ask(repository, unknown, turn)
        for key, answer in found.items():
            self._keep((repository, key), answer)
        return answers | found

    async def missing(self, references: Collection[str]) -> frozenset[str]:
        """Which images the registry says it has no more; one that cannot be asked for is not missing.

        Args:
            references: Images, `REGISTRY/NAME@sha256:HEX`.
        """

        async def gone(reference: str) -> bool:
            until, answer = self._seen.get(reference, (0.0, False))
            if self._clock() < until:
                return answer
            try:
                found = await self._pinned(reference)
            except (RegistryError, ValueError, TimeoutError) as error:
                log.warning("whether %s is there could not be asked: %s", reference, error)
                answer = False
            else:
                answer = found is None
            if len(self._seen) > _LIMIT:
                self._seen.clear()
            self._seen[reference] = (self._clock() + PROBLEM_SECONDS, answer)
            return answer

        answers = await asyncio.gather(*(gone(reference) for reference in references))
        return frozenset(one for one, answer in zip(references, answers, strict=True) if answer)

    async def layers(self, references: Collection[str]) -> Mapping[str, Mapping[str, int]]:
        """The layers of images, digest to compressed bytes, as far as the registry shows them; each is asked for once.

        It is for people to read, so no pass waits for it where the registry has not answered a moment ago.

        Args:
            references: Images, `REGISTRY/NAME@sha256:HEX`.
        """
        now = self._clock()
        unknown = [one for one in sorted(references) if one not in self._layers and self._unshown.get(one, now) <= now]
        of_registry = groupby(unknown, key=_registry)
        await asyncio.gather(*(self._show(registry, list(images)) for registry, images in of_registry))
        for memory in (self._layers, self._unshown):
            while len(memory) > _LIMIT:
                del memory[next(iter(memory))]
        return {one: self._layers[one] for one in references if one in self._layers}

    async def _show(self, registry: str, references: list[str]) -> None:
        """Learn the layers of images of one registry, as far as it shows them."""

        async def ask(reference: str) -> None:
            try:
                found = await self._pinned(reference)
            except (RegistryError, ValueError, TimeoutError) as error:
                log.info("the layers of %s could not be asked for: %s", reference, error or "no answer")
                if isinstance(error, (RegistryUnreachable, TimeoutError)):
                    silent.add(reference)
            else:
                if found is not None:
                    self._layers[reference] = _sizes(found)

        silent: set[str] = set()
        with self._breaker.turn(registry) as turn:
            if turn is None:
                return
            await asyncio.gather(*(ask(one) for one in references))
            turn.answered = not silent
        again = self._clock() + UNSHOWN_SECONDS
        self._unshown |= {one: again for one in references if one not in self._layers}

    async def _pinned(self, reference: str) -> Manifest | None:
        """The manifest of an image by its digest; None where the registry has none.

        Raises:
            RegistryError: The registry cannot be asked.
            TimeoutError: It does not answer in time.
            ValueError: The reference is none.
        """
        repository, _, digest = reference.partition("@")
        async with asyncio.timeout(LOOKUP_SECONDS):
            return await self._registry.manifest(Repository.parse(repository).pinned(digest))

    def _known(self, repository: str, wanted: Wanted) -> Image | None:
        """The image that was found before, unless a Job of ours has pushed another one since."""
        image = self._there.get((repository, wanted.build.key))
        if image and wanted.trusted and image.reference.partition("@")[2] not in wanted.trusted:
            del self._there[repository, wanted.build.key]
            return None
        return image

    async def _ask(self, repository: str, builds: list[Wanted], turn: Turn) -> dict[str, Answer]:
        """Ask the registry, all at once and within one time limit."""
        late = RegistryProblem(f"{repository} did not answer within {LOOKUP_SECONDS:g} s", forbidden=False)
        answers: dict[str, Answer] = dict.fromkeys((one.build.key for one in builds), late)
        silent = set(answers)

        async def ask(one: Wanted) -> None:
            key = one.build.key
            try:
                manifest = await self._manifest(Repository.parse(repository).tagged(key))
                ask_base = manifest is not None and not one.trusted
                base = await self._bases.of(repository, one.build) if ask_base else None
                answer = judged(repository, one, manifest, base) if manifest else None
                if self._key is not None and isinstance(answer, Image):
                    answer = await checked(self._registry, answer, self._key)
                if isinstance(answer, Image) and manifest:
                    self._layers[answer.reference] = _sizes(manifest)
                    answer = await with_finalists(self._registry, one, answer, base, self._key)
            except RegistryUnreachable as error:
                answers[key] = RegistryProblem(str(error), forbidden=False)
                return
            except (RegistryError, ValueError) as error:
                answers[key] = RegistryProblem(str(error), forbidden=isinstance(error, RegistryForbidden))
            else:
                answers[key] = answer
            silent.discard(key)

        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                await asyncio.gather(*(ask(one) for one in builds))
        except TimeoutError:
            log.warning("%s", late.message)
        turn.answered = not silent
        return answers

    async def _manifest(self, tag: Reference) -> Manifest | None:
        """What lies under a tag; one HEAD where that is what was read before.

        Raises:
            RegistryError: The registry cannot be asked.
        """
        place = (str(tag.repository), tag.target)
        held = self._held.get(place)
        if held is not None and await self._registry.digest_under(tag) == held.digest:
            return held
        found = await self._registry.manifest(tag)
        if found is not None:
            self._held[place] = found
        else:
            self._held.pop(place, None)
        return found

    def _last_problem(self, repository: str, key: str) -> Answer:
        """The answer for a registry that is not asked: the last one, so that no status changes back and forth."""
        _, last = self._brief.get((repository, key), (0.0, None))
        return last or RegistryProblem(f"The registry of {repository} did not answer a moment ago", forbidden=False)

    def _keep(self, where: tuple[str, str], answer: Answer) -> None:
        if isinstance(answer, Image):
            self._there[where] = answer
            self._brief.pop(where, None)
            self._held.pop(where, None)
        else:
            seconds = PROBLEM_SECONDS if answer else ABSENT_SECONDS
            self._brief[where] = (self._clock() + seconds, answer)
        for memory in (self._there, self._brief, self._held):
            if len(memory) > _LIMIT:
                del memory[next(iter(memory))]


def _registry(reference: str) -> str:
    return reference.partition("/")[0]


def _sizes(manifest: Manifest) -> Mapping[str, int]:
    """Digest of each layer to its compressed bytes."""
    return {layer.digest: layer.size for layer in manifest.layers}
