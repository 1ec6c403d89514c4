"""Which nodes gave up their server for a trial, as the records of trials have it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from edgesmith.api.trial_status import TrialStatus
from edgesmith.decide.fleet import Lent


def asked(record: TrialStatus, node: str) -> TrialStatus:
    """The record with a node that is to give up its server."""
    before = record.lent or ()
    return record if node in before else record.model_copy(update={"lent": (*before, node)})


def released(record: TrialStatus, node: str) -> TrialStatus:
    """The record without a node that keeps its server after all."""
    return _with(record, [name for name in record.lent or () if name != node])


def still_lent(record: TrialStatus, bare: Collection[str], *, goes_on: bool) -> TrialStatus:
    """The record without the nodes that have a revision again, or are gone.

    Args:
        record: The record.
        bare: Nodes without a label of the EdgeModel.
        goes_on: Whether its trial does: then its node is one of them, be its server still there or not.
    """
    return _with(record, [name for name in record.lent or () if name in bare or (goes_on and name == record.node)])


def lent_nodes(records: Iterable[TrialStatus], trying: Collection[str]) -> dict[str, Lent]:
    """How it stands with every node that was asked to give up its server.

    Args:
        records: Those of all trials.
        trying: Nodes whose trial goes on.
    """
    known = tuple(records)
    tried = {one.node for one in known if one.completed_time}
    names = {name for one in known for name in one.lent or ()}
    return {
        name: Lent.TRIES if name in trying else Lent.TRIED if name in tried else Lent.LOST for name in sorted(names)
    }


def _with(record: TrialStatus, lent: Iterable[str]) -> TrialStatus:
    found = tuple(lent)
    return record if found == (record.lent or ()) else record.model_copy(update={"lent": found or None})
