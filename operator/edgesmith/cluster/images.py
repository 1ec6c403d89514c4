"""What the registry says of builds. The registry is the database of builds: a key that resolves is never built again.

An image that is there stays what it is (its tag is the hash of everything that decides its bytes), so it is asked for
once. That there is none, or no answer, is believed for a few seconds only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

from edgesmith.decide.snapshot import Image, RegistryProblem
from edgesmith_builder.contract import KEY_ANNOTATION, REPORT_ANNOTATION, BuildReport
from edgesmith_builder.oci import Manifest, Registry, RegistryError, RegistryForbidden, Repository

log = logging.getLogger(__name__)

Answer = Image | RegistryProblem | None

ABSENT_SECONDS = 2.0
PROBLEM_SECONDS = 5.0
LOOKUP_SECONDS = 15.0
_LIMIT = 8192


class Images:
    """Looks builds up in a registry."""

    def __init__(self, registry: Registry, clock: Callable[[], float]) -> None:
        """Make a look-up.

        Args:
            registry: Where to ask; open.
            clock: Seconds that only grow.
        """
        self._registry = registry
        self._clock = clock
        self._there: dict[tuple[str, str], Image] = {}
        self._brief: dict[tuple[str, str], tuple[float, RegistryProblem | None]] = {}

    async def look_up(
        self, repository: str, keys: Collection[str], fresh: Collection[str] = ()
    ) -> Mapping[str, Answer]:
        """Ask for builds.

        Args:
            repository: `REGISTRY/NAME` of an EdgeModel's images.
            keys: Build keys.
            fresh: Those of them whose absence must not come from memory: their Job has just ended.

        Returns:
            The answer by key. This never raises for what the registry does.
        """
        answers = await asyncio.gather(*(self._one(repository, key, key in fresh) for key in keys))
        return dict(zip(keys, answers, strict=True))

    async def _one(self, repository: str, key: str, fresh: bool) -> Answer:  # noqa: FBT001 - private, one caller
        where = (repository, key)
        if where in self._there:
            return self._there[where]
        until, answer = self._brief.get(where, (0.0, None))
        if not fresh and self._clock() < until:
            return answer
        found = await self._ask(repository, key)
        if isinstance(found, Image):
            self._there[where] = found
            self._brief.pop(where, None)
            if len(self._there) > _LIMIT:
                del self._there[next(iter(self._there))]
        else:
            seconds = PROBLEM_SECONDS if found else ABSENT_SECONDS
            self._brief[where] = (self._clock() + seconds, found)
            if len(self._brief) > _LIMIT:
                del self._brief[next(iter(self._brief))]
        return found

    async def _ask(self, repository: str, key: str) -> Answer:
        try:
            reference = Repository.parse(repository).tagged(key)
            async with asyncio.timeout(LOOKUP_SECONDS):
                manifest = await self._registry.manifest(reference)
        except TimeoutError:
            return RegistryProblem(f"{repository} did not answer within {LOOKUP_SECONDS:g} s", forbidden=False)
        except RegistryForbidden as error:
            return RegistryProblem(str(error), forbidden=True)
        except RegistryError as error:
            return RegistryProblem(str(error), forbidden=False)
        except ValueError as error:
            return RegistryProblem(f"{error}", forbidden=False)
        return image_of(repository, key, manifest) if manifest else None


def image_of(repository: str, key: str, manifest: Manifest) -> Image | None:
    """The build that a manifest is; None where it is not one of ours, so that it is made anew.

    Args:
        repository: Where it was found.
        key: The tag under which it was found.
        manifest: What was found.
    """
    told = manifest.annotations.get(KEY_ANNOTATION)
    if told != key:
        log.warning("%s:%s carries the build key %r; it is built anew", repository, key, told)
        return None
    try:
        report = BuildReport.model_validate_json(manifest.annotations.get(REPORT_ANNOTATION, ""))
    except ValueError:
        log.warning("%s:%s carries no report that can be read; it is built anew", repository, key)
        return None
    return Image(reference=f"{repository}@{manifest.digest}", report=report)
