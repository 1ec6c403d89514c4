"""`edgesmith profile`: the catalogue of this release, which profile fits a device, and whether a profile is right."""
