"""A stage for the demo, the cluster tests and the benchmarks: a cluster, a registry, a bucket, the chart installed."""
