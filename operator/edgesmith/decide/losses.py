"""Whether nodes that became NotReady while they tried a revision say something about the revision.

Edge nodes go away all the time, so a count alone says little. The other nodes are the control group: were their share
of NotReady nodes the chance of every node that tries the revision, how likely would so many be lost? A node was Ready
when it was given the revision, so those that were away by then say nothing about its chance.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp, lgamma, log

_AT_ONCE = 1e-3
"""Below this probability two lost canaries are the revision's doing without waiting for them."""
_IN_TIME = 2e-2
"""Below this, once all of them have been away for the whole progressDeadline."""
_EVIDENCE = 2
"""The first lost canary is replaced, the second one is evidence."""
_LATER = 1e-6
"""Below this, for nodes of later steps: the question is asked again with every node that is moved."""
_LEAST_SHARE = 0.02
"""Share of edge nodes that are taken to be away where none of the others is."""
_EVEN = 0.5
"""Chance, at the least, of a node to come and go: of how many of the others do so too, nothing is kept."""


@dataclass(frozen=True, slots=True)
class Others:
    """The nodes of a variant that did not get the revision."""

    there: int
    """How many of them are not away."""
    away: int
    """How many are."""
    went: Sequence[datetime] = ()
    """When they went, in order, as far as that is known."""

    def share(self, since: datetime | None) -> float:
        """Which share of those that were not away at a time is now; None: of all of them.

        One of which nobody knows when it went counts as one that was there.
        """
        away = self.away - (bisect_left(self.went, since) if since else 0)
        return away / (self.there + away) if away else 0.0

    def chance(self, since: datetime | None, *, comes_and_goes: bool) -> float:
        """How likely it is that a node that got the revision at a time is lost by accident."""
        return max(self.share(since), _EVEN if comes_and_goes else _LEAST_SHARE)


def tail(trials: int, hits: int, chance: float) -> float:
    """The probability of `hits` or more in `trials` independent trials (the upper tail of the binomial distribution).

    Args:
        trials: How many.
        hits: At least so many.
        chance: Of each, above 0 and up to 1.
    """
    if chance >= 1.0:
        return 1.0

    def term(k: int) -> float:
        ways = lgamma(trials + 1) - lgamma(k + 1) - lgamma(trials - k + 1)
        return exp(ways + k * log(chance) + (trials - k) * log(1.0 - chance))

    return min(sum(term(k) for k in range(hits, trials + 1)), 1.0)


def tail_of(chances: Sequence[float], hits: int) -> float:
    """The same of trials that each have a chance of their own (the upper tail of the Poisson binomial distribution)."""
    fewer = [1.0] + [0.0] * (hits - 1)
    """The probability of each count below `hits`: what is left is that of `hits` or more."""
    reached = 0.0
    for chance in chances:
        reached += fewer[-1] * chance
        fewer = [one * (1.0 - chance) + less * chance for one, less in zip(fewer, [0.0, *fewer], strict=False)]
    return reached


def lost_at_once(tried: int, lost: int, others: Others) -> bool:
    """Whether so many canaries that are NotReady at this moment speak against the revision; one never does.

    Args:
        tried: Nodes that got the revision.
        lost: Those of them that became NotReady before their bake was over.
        others: The nodes that did not get it.
    """
    return lost >= _EVIDENCE and tail(tried, lost, max(others.share(None), _LEAST_SHARE)) < _AT_ONCE


def lost_in_time(chances: Sequence[float], lost: int) -> bool:
    """Whether so many canaries that were waited for in vain speak against the revision; one never does.

    Args:
        chances: Of each node that got the revision, to be lost by accident.
        lost: How many were.
    """
    return lost >= _EVIDENCE and tail_of(chances, lost) < _IN_TIME


def nodes_lost(tried: int, lost: int, others: int, others_away: int) -> bool:
    """The same for nodes of later steps. The fewer others there are to compare with, the less can be said."""
    return tail(tried, lost, (others_away + 3) / (others + 3)) < _LATER
