"""The pods of a trial: what each is called, and which of those that are there it is."""

from __future__ import annotations

from collections.abc import Sequence

from edgesmith.api.names import short_hash, trial_pod_name
from edgesmith.api.trial_status import TrialStatus
from edgesmith.decide.snapshot import TrialPod
from edgesmith.decide.trial_nodes import TrialNodes


def left_of(record: TrialStatus) -> dict[str, str]:
    """Finalists that have not been tried, container to image."""
    return {one.container: one.image for one in record.finalists if one.reason is None}


class TrialPods:
    """The pods of one EdgeModel's trials, as the trial of one variant sees them."""

    def __init__(self, model: str, pods: Sequence[TrialPod], nodes: TrialNodes) -> None:
        """Look at them.

        Args:
            model: The EdgeModel's name.
            pods: Those that are there, of all trials.
            nodes: The variant's nodes.
        """
        self._model, self._all, self._nodes = model, pods, nodes

    def trial(self, record: TrialStatus) -> str:
        """The trial's name, on its pods: another with every retry, and with every node that was lost."""
        return short_hash(f"{record.build_key}\n{record.profile}\n{record.attempt}\n{len(record.lost or ())}")

    def pull(self, record: TrialStatus) -> str:
        """The name that pods have which pull what a trial is to try."""
        return short_hash(f"{self.trial(record)}\npull")

    def of(self, record: TrialStatus) -> list[TrialPod]:
        """Those that try something."""
        trial = self.trial(record)
        return sorted((pod for pod in self._all if pod.trial == trial), key=lambda pod: pod.name)

    def pulled(self, record: TrialStatus, node: str) -> frozenset[str]:
        """The names of those on a node that pull, or did."""
        trial = self.pull(record)
        return frozenset(one.name for one in self._all if one.node == node and one.trial == trial)

    def at(self, record: TrialStatus, node: str) -> TrialPod | None:
        """The pod that a node has, or had: one that only pulls where its server holds the device."""
        return self.pulling(record, node) if self._nodes.borrows(node) else self.trying(record, node)

    def trying(self, record: TrialStatus, node: str) -> TrialPod | None:
        """The pod on a node that goes on, or the one that was to try what is left; None where one is to be made."""
        name, here = self.name(record, node), [pod for pod in self.of(record) if pod.node == node]
        return next((pod for pod in here if not pod.over), None) or next(
            (pod for pod in here if pod.name == name), None
        )

    def pulling(self, record: TrialStatus, node: str) -> TrialPod | None:
        """The pod that pulls what is left to be tried; None where one is to be made."""
        name = self.pull_name(record, node)
        return next((pod for pod in self._all if pod.name == name), None)

    def name(self, record: TrialStatus, node: str) -> str:
        """What the pod is called that tries what is left."""
        return trial_pod_name(self._model, self.trial(record), node, list(left_of(record)))

    def pull_name(self, record: TrialStatus, node: str) -> str:
        """What the pod is called that pulls what is left."""
        return trial_pod_name(self._model, self.pull(record), node, list(left_of(record)))
