"""The HTTP front door: a small HTTP/1.1 server and the Open Inference Protocol's pages on it."""
