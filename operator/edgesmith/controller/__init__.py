"""The only code that imports kopf: watches, a work queue, start-up, probes."""
