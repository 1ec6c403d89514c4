"""The only code that talks to Kubernetes and the registry: gather a snapshot, apply a plan."""
