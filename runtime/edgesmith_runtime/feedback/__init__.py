"""What a server lets others see of its requests: nothing, statistics, or samples."""
