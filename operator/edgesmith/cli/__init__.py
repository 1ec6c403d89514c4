"""The command line: `edgesmith plan` and `edgesmith status`."""
