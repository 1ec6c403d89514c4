"""What can be on a device at all: the bound that the operator holds a file against, and the builder when it comes."""

from __future__ import annotations


def most_bytes(device_memory: int) -> int:
    """Most bytes of a model's file for a device. With more than the device's memory, no precision of it can be loaded.

    It bounds what can never fit. What a model takes when it is unpacked and runs, the build and the device find out.

    Args:
        device_memory: Bytes of memory that the device has.
    """
    return device_memory
