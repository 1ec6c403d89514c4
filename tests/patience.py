"""How long tests wait for what must happen, on a machine whose cores others may have."""

from __future__ import annotations

PATIENCE = 60.0
"""Seconds until a test gives up: no bound on what is tested, since a process that starves may stand still for many."""
