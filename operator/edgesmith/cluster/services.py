"""Whose a Service is that has the name of an EdgeModel's. Pure."""

from __future__ import annotations

from edgesmith.cluster.errors import NameTaken, Waiting
from edgesmith.cluster.fields import Raw, text
from edgesmith.cluster.parse import controller_of, labels_of, owner_of

GOING_SECONDS = 2.0
"""After how long a Service that is about to go is looked at again."""


def check_service(live: Raw, wanted: Raw) -> None:
    """See that a Service may be applied: it is the EdgeModel's, or was left without an owner when one of its name went.

    Args:
        live: The Service as it is.
        wanted: As it is to be.

    Raises:
        Waiting: It is of an EdgeModel of the same name that was there before, and goes with that.
        NameTaken: It is somebody else's.
    """
    theirs, ours = controller_of(live), controller_of(wanted)
    if owner_of(live) == owner_of(wanted):
        return
    if not theirs and labels_of(wanted).items() <= labels_of(live).items():
        return
    where = f"{text(wanted, 'metadata', 'namespace')}/{text(wanted, 'metadata', 'name')}"
    named = [(one.get("kind"), one.get("name"), text(one, "apiVersion").partition("/")[0]) for one in (theirs, ours)]
    if named[0] == named[1]:
        raise Waiting(
            f"The Service {where} is of an EdgeModel of the same name that was deleted, and is made anew once it has "
            "gone with that.",
            GOING_SECONDS,
        )
    raise NameTaken(
        f"The Service {where} exists and is not the EdgeModel's, so clients cannot reach the model by that "
        "name; rename the Service or the EdgeModel."
    )
