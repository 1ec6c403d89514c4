"""Snapshot in, plan out: every decision of the operator, with no I/O, no client and no clock of its own."""

from edgesmith.decide.built_for_sites import wanted
from edgesmith.decide.decide import decide
from edgesmith.decide.sweep import sweep

__all__ = ["decide", "sweep", "wanted"]
