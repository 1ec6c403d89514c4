"""The gRPC front door: the Open Inference Protocol's service."""
