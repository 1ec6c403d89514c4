"""`edgesmith archive`: models for a site that no line leads to."""
