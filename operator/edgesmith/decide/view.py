"""A snapshot, seen by profile: what the planner is to plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from operator import attrgetter

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.names import node_label
from edgesmith.decide.allowance import Terms
from edgesmith.decide.budget import pulling_of
from edgesmith.decide.builds import BuildState, build_states
from edgesmith.decide.built_for_sites import only_built, states_of
from edgesmith.decide.contestants import contestants
from edgesmith.decide.fleet import NodeState, Variant
from edgesmith.decide.held import held_revision
from edgesmith.decide.judging import judged
from edgesmith.decide.neighbours import Neighbours
from edgesmith.decide.observe import Observation, observe
from edgesmith.decide.placement import Placement, placement
from edgesmith.decide.profiles import Assignment, Resolved, assign, carries
from edgesmith.decide.record import parse_record
from edgesmith.decide.refusals import usable
from edgesmith.decide.requests import Named, named
from edgesmith.decide.room import Room, room_for
from edgesmith.decide.serving import revision_of
from edgesmith.decide.sizes import with_sizes
from edgesmith.decide.snapshot import Node, Pod, Snapshot
from edgesmith.decide.sources import Looks, plan_looks
from edgesmith.decide.strategy import strategy_of
from edgesmith.decide.terms import RolloutTerms
from edgesmith.decide.trial_nodes import Fleet
from edgesmith.decide.trial_places import within
from edgesmith.decide.trials import plan_trials


class View:
    """A snapshot, seen by profile. Made once per pass; nothing in it changes afterwards."""

    def __init__(self, snapshot: Snapshot, now: datetime) -> None:
        """Look at a snapshot.

        Args:
            snapshot: Everything that is known of one EdgeModel.
            now: The hub's time.
        """
        self.snapshot, self.now = snapshot, now
        model = snapshot.model
        self.label_key = node_label(model.metadata.namespace, model.metadata.name)
        self.resolved: Resolved = usable(model, snapshot.profiles, snapshot.settings)
        self.assignment: Assignment = assign(model, self.resolved.profiles, snapshot.nodes)
        self._pods: dict[str, list[Pod]] = defaultdict(list)
        for pod in snapshot.pods:
            self._pods[pod.node].append(pod)
        self.only_built: Resolved = only_built(model, snapshot.profiles, snapshot.settings)
        """Profiles that are built for sites and run on no node of the cluster."""
        built = build_states(snapshot, self.to_build, now)
        places = {(name, place): one for name, states in built.items() for place, one in enumerate(states)}
        self.looks: Looks = with_sizes(snapshot, plan_looks(snapshot, places, now), now)
        self.neighbours = Neighbours(snapshot, now)
        """The other EdgeModels on the same nodes."""
        trial = model.spec.optimize.trial != "Never"
        self.contestants = {
            name: contestants(
                [judged(self.looks.builds[name, place], model) for place in range(len(states))], trial=trial
            )
            for name, states in built.items()
        }
        """Every variant's builds, by the profile's name."""
        elsewhere = {one.metadata.name for one in self.only_built.profiles}
        self.trials = plan_trials(
            snapshot,
            {name: found for name, found in self.contestants.items() if name not in elsewhere},
            Fleet(self.assignment.profile_of, self._pods, self.label_key, self.neighbours),
            now,
        )
        self.builds: dict[str, BuildState] = self.trials.builds | states_of(self.contestants, elsewhere)
        asked, without = self._named(elsewhere)
        self.terms = RolloutTerms(snapshot, self.resolved.profiles, asked, now, without)
        self.targets = self.terms.targets
        self.strategies = {one.metadata.name: strategy_of(one, model) for one in self.resolved.profiles}
        """How nodes change their revision, by the profile's name."""
        self.observed: dict[str, Observation] = {}
        self.nodes = defaultdict[str, list[NodeState]](list)
        """Profile to its nodes."""
        self.leaving: list[NodeState] = []
        """Nodes of no profile any more that still carry a revision."""
        self.nodes |= {profile.metadata.name: [] for profile in self.to_build}
        self._observe()
        if self.trials.starts:
            nodes = [one for own in self.nodes.values() for one in own]
            limit = self.terms.rules.pulling(len(nodes) + len(self.leaving))
            self.trials = within(self.trials, limit, pulling_of(nodes))
            self.builds |= self.trials.builds

    @property
    def to_build(self) -> tuple[DeviceProfile, ...]:
        """Every profile that is built for."""
        return (*self.resolved.profiles, *self.only_built.profiles)

    def variants(self) -> tuple[Variant, ...]:
        """What the planner is to plan."""
        return tuple(
            Variant(
                profile,
                self.targets.get(profile),
                self.terms.states.get(profile, ()),
                tuple(nodes),
                frozenset(one.revision for one in self.snapshot.revisions if one.profile != profile),
                strategy=self.strategies.get(profile),
                stageable=frozenset(one.revision for one in self.snapshot.staging if one.room is None),
                looking=frozenset(one.revision for one in self.snapshot.staging if one.room is not None),
                large=self.room_of(profile) is not None,
                images=self._images(profile),
                promoted=self.terms.requests.promoted(profile),
                overridden=self.terms.requests.overridden(profile),
                left=self.terms.requests.left.get(profile),
                tried=self.trials.tried.get(profile),
                trying=self.trials.trying.get(profile),
                busy=self.neighbours.keep,
            )
            for profile, nodes in sorted(self.nodes.items())
        )

    def room_of(self, profile: str) -> Room | None:
        """What a node needs for the revision that is rolled out; None where it is not large.

        While the registry does not show its report: what its DaemonSet says.
        """
        state, target = self.builds.get(profile), self.targets.get(profile)
        if state is None or state.image is None:
            return None
        if state.report is not None:
            return room_for(state.image, state.report)
        return next((one.room for one in self.snapshot.staging if one.revision == target), None)

    def _named(self, elsewhere: Collection[str]) -> tuple[dict[str, Named], dict[str, Named]]:
        """What the variants of this cluster are called: those that can be rolled out, and the others."""
        model, settings = self.snapshot.model, self.snapshot.settings
        asked: dict[str, Named] = {}
        without: dict[str, Named] = {}
        for name, state in self.builds.items():
            if name in elsewhere:
                continue
            if state.image:
                revision = revision_of(state.profile, state.image, model, settings)
                asked[name] = Named(revision, state.image, state.build.key)
            else:
                without[name] = self._without_image(name, state)
        return asked, without

    def _without_image(self, profile: str, state: BuildState) -> Named:
        """What a variant is called of which nothing can be rolled out now: what its nodes run of its builds."""
        held = held_revision(self.snapshot, profile, *self.contestants[profile].keys)
        return named(held) if held else Named("", "", state.build.key)

    def _images(self, profile: str) -> dict[str, str]:
        """The image of each revision that has one, that of a target without a DaemonSet among them."""
        images = {one.revision: one.image for one in self.snapshot.revisions}
        state, target = self.builds.get(profile), self.targets.get(profile)
        if target and state and state.image:
            images.setdefault(target, state.image)
        return images

    def _observe(self) -> None:
        """Every node that is to run the model, by profile, and those that still run it.

        Of a profile that is missing or unreadable nobody can say which nodes are of it, and one that is refused gets
        no new ones; those that run it are taken to be of it and keep it.
        """
        selector: Mapping[str, str] = self.snapshot.model.spec.node_selector
        kept = {*self.resolved.unusable, *self.snapshot.unreadable_profiles}
        left_alone = self.assignment.left_alone
        terms_of = cache(self.terms.of)
        for node in sorted(self.snapshot.nodes, key=attrgetter("name")):
            placed = placement(node, self.label_key)
            label = placed.label
            profile = self.assignment.profile_of.get(node.name)
            if profile is None:
                if label is None:
                    continue
                revision = self.terms.by_revision.get(label)
                orphan = revision is not None and revision.profile in kept and carries(node.labels, selector)
                if revision and orphan and node.name not in left_alone:
                    profile = revision.profile
            observation = self._judge(node, terms_of(label, profile), placed)
            if label is None and (lent := self.trials.lent.get(node.name)):
                previous = observation.record.served if observation.record else None
                observation = observation._replace(state=replace(observation.state, lent=lent, previous=previous))
            if untried := self.trials.full.get(node.name):
                observation = observation._replace(state=replace(observation.state, untried=untried))
            self.observed[node.name] = observation
            if profile:
                self.nodes[profile].append(observation.state)
            elif node.name not in left_alone or self.terms.rolled_back(label):
                self.leaving.append(observation.state)

    def _judge(self, node: Node, terms: Terms, placed: Placement) -> Observation:
        pods = self._pods.get(node.name, ())
        if not terms.known and any(pod.revision == terms.label and pod.ready for pod in pods):
            # Where its DaemonSet cannot be seen, a server that is there is still a server.
            terms = replace(terms, known=True, foreign=True)
        return observe(node, terms, pods, parse_record(node.records.get(self.label_key), self.now), placed)
