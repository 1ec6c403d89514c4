"""What the examples share to remake themselves: arrays, network, training, export to ONNX, score.

Nothing here is needed to use an example: its model and its sets are files.
"""
