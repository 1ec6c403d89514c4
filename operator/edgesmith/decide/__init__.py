"""Snapshot in, plan out: every decision of the operator, with no I/O, no client and no clock of its own."""
