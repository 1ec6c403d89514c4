"""What waits on the node's disk to be sent: it outlasts power cuts, and the least valuable is dropped first."""
