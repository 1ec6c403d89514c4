"""From an fp32 network to a smaller one: whole channels are removed."""

from edgesmith_builder.prune.recipe import Pruned, PruningFailed, prune, refusal

__all__ = ["Pruned", "PruningFailed", "prune", "refusal"]
