"""Whether nodes that became NotReady while they tried a revision say something about the revision.

Edge nodes go away all the time, so a count alone says little. The other nodes are the control group: were their share
of NotReady nodes the chance of every node that tries the revision, how likely would so many be lost?
"""

from __future__ import annotations

from math import exp, lgamma, log

_AT_ONCE = 1e-3
"""Below this probability two lost canaries are the revision's doing without waiting for them."""
_IN_TIME = 2e-2
"""Below this, once all of them have been away for the whole progressDeadline."""
_LATER = 1e-6
"""Below this, for nodes of later steps: the question is asked again with every node that is moved."""
_LEAST_SHARE = 0.02
"""Share of edge nodes that are taken to be away where none of the others is."""


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


def canaries_lost(tried: int, lost: int, others: int, others_away: int, *, waited: bool) -> bool:
    """Whether so many lost canaries speak against the revision; one never does.

    Args:
        tried: Nodes that got the revision.
        lost: Those of them that became NotReady before their bake was over.
        others: Nodes of the variant that did not get it.
        others_away: Those of them that are NotReady.
        waited: Whether all lost ones have been away for the whole progressDeadline.
    """
    if lost < 2:  # noqa: PLR2004 - the first one is replaced, the second one is evidence
        return False
    chance = max(others_away / others if others else 0.0, _LEAST_SHARE)
    return tail(tried, lost, chance) < (_IN_TIME if waited else _AT_ONCE)


def nodes_lost(tried: int, lost: int, others: int, others_away: int) -> bool:
    """The same for nodes of later steps. The fewer others there are to compare with, the less can be said."""
    return tail(tried, lost, (others_away + 3) / (others + 3)) < _LATER
