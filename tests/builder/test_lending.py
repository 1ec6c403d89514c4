"""What cluster tests lend to each other is to the operator what was built where it is found."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from lending import Shelf

from edgesmith.cluster.images import Images
from edgesmith.cluster.provenance import Wanted
from edgesmith.decide.snapshot import Image
from edgesmith_builder.oci import Registry

pytestmark = pytest.mark.usefixtures("patient_lookups")


async def look_up(repository: str, build: Any) -> Any:
    async with Registry(plain_http=True) as registry:
        return (await Images(registry, time.monotonic).look_up(repository, [Wanted(build)]))[build.key]


async def test_a_build_that_was_kept_is_found_in_another_repository_with_its_candidates(
    world: Any, registry: str
) -> None:
    request = world.request()
    await world.build(request)
    there, shelf = request.repository, Shelf(registry)
    here = f"{there}-borrowed"
    shelf.keep(there.removeprefix(f"{registry}/"))
    assert await look_up(here, request.build) is None
    shelf.lend(here.removeprefix(f"{registry}/"))
    found, own = await look_up(here, request.build), await look_up(there, request.build)
    assert isinstance(found, Image)
    assert found.reference == own.reference.replace(there, here)
    assert (len(found.report.finalists), found.report) == (2, own.report)


def test_where_nothing_was_built_nothing_is_kept(registry: str) -> None:
    shelf = Shelf(registry)
    shelf.keep("team/nothing-yet")
    assert shelf.held == {}


def test_a_build_that_is_gone_is_an_error_and_not_a_build_less(registry: str) -> None:
    shelf = Shelf(registry, {"0123": "team/gone"})
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        shelf.lend("team/borrower")
