"""Which of the samples that a model answered are worth a day's few bytes, and what of them leaves the node."""
