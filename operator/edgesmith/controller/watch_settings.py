"""kopf's settings: watches that notice their own death, and as little work and memory for each object as there is."""

from __future__ import annotations

from typing import Any

import kopf
from kopf._cogs.structs.bodies import RawBody
from kopf._cogs.structs.ephemera import AnyMemo
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from edgesmith.cluster import lease
from edgesmith.cluster.client import PAGE
from edgesmith.cluster.kinds import LEASE
from edgesmith.cluster.listing import selector
from edgesmith.cluster.objects import WATCHED

INACTIVITY_SECONDS = 70.0
"""Without an event or a bookmark, after which a watch is taken for dead. The API server sends bookmarks every 60 s;
watches that end without an error are kopf's best known failure (its issues 585, 787 and 955)."""
IDLE_SECONDS = 0.1
"""After which kopf ends the task of an object, and with it lets go of the object."""


class NoDiffBase(kopf.DiffBaseStorage):
    """Compares nothing: no handler of ours asks what changed since it was last called.

    kopf's own copies the whole object twice for every event.
    """

    def build(self, **_: Any) -> Any:
        """Nothing of the object."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """Nothing was stored."""
        return None

    def store(self, **_: Any) -> None:
        """Nothing is stored."""


class NoProgress(kopf.ProgressStorage):
    """Keeps no progress: event handlers are called once and have none."""

    def fetch(self, **_: Any) -> Any:
        """Nothing was stored."""
        return None

    def store(self, **_: Any) -> None:
        """Nothing is stored."""

    def purge(self, **_: Any) -> None:
        """Nothing is there to be removed."""

    def touch(self, **_: Any) -> None:
        """Nothing is there to be touched."""

    def clear(self, *, essence: Any) -> Any:
        """The object without our progress: there is none in it."""
        return essence


class NoMemories(ResourceMemories):
    """Remembers nothing of any object: event handlers need none of it.

    kopf's own keeps some 900 bytes of every object that it has seen, for as long as that exists.
    """

    async def recall(
        self,
        raw_body: RawBody,
        *,
        memobase: AnyMemo | None = None,
        noticed_by_listing: bool = False,
        ephemeral: bool = True,
    ) -> ResourceMemory:
        """A memory for one event."""
        del ephemeral
        return await super().recall(raw_body, memobase=memobase, noticed_by_listing=noticed_by_listing, ephemeral=True)


def watch_settings() -> kopf.OperatorSettings:
    """The settings of the watches."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    # Kinds are not looked for later: it would take the right to list CRDs, and the CRDs come with the chart.
    settings.scanning.disabled = True
    settings.watching.inactivity_timeout = INACTIVITY_SECONDS
    settings.watching.chunk_size = PAGE
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 10.0
    settings.queueing.idle_timeout = IDLE_SECONDS
    settings.queueing.exit_timeout = 0.5
    settings.process.ultimate_exiting_timeout = 15.0
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    for kind in WATCHED:
        if labels := selector(kind):
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = labels
    settings.watching.field_selectors[LEASE.group, LEASE.version, LEASE.plural] = f"metadata.name={lease.NAME}"
    return settings
