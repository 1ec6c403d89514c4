"""Trains a network with JAX: Adam, a cosine schedule, cross-entropy with smoothed labels."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from examples._training.network import Convolution, Network, Trained

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Parameters = dict[str, Any]

_EPSILON = 1e-5
_SMOOTHING = 0.05
_STATISTICS_FROM = 1024


@dataclass(frozen=True)
class Course:
    """How to train.

    Attributes:
        epochs: How often every picture is seen.
        batch: Pictures in a step.
        rate: The highest learning rate.
        seed: Where initial weights, order and augmentation come from.
        augment: Changes a batch of pictures without changing what they show.
    """

    epochs: int
    batch: int
    rate: float
    seed: int
    augment: Callable[[Images, np.random.Generator], Images]


def initial(network: Network, rng: np.random.Generator) -> Parameters:
    """Random weights of the size that He et al. 2015 (arXiv 1502.01852) derive for ReLU."""
    filters = []
    for layer, incoming in zip(network.layers, network.incoming(), strict=True):
        shape = layer.weight_shape(incoming)
        weight = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        ones, zeros = np.ones(layer.channels, np.float32), np.zeros(layer.channels, np.float32)
        filters.append({"weight": weight.astype(np.float32), "gain": ones, "shift": zeros})
    dense = rng.standard_normal((network.features, network.classes)) / np.sqrt(network.features)
    return {
        "filters": filters,
        "dense": dense.astype(np.float32),
        "bias": np.zeros(network.classes, np.float32),
    }


def _convolve(signal: Any, weight: Any, layer: Convolution) -> Any:
    if not layer.depthwise:
        sides = [(layer.padding, layer.padding)] * 2
        numbers = ("NCHW", "OIHW", "NCHW")
        return jax.lax.conv_general_dilated(signal, weight, (layer.stride,) * 2, sides, dimension_numbers=numbers)
    # As shifted sums: XLA's grouped convolution and its gradient are many times slower on a CPU.
    side, step = layer.padding, layer.stride
    height, width = signal.shape[2:]
    padded = jnp.pad(signal, ((0, 0), (0, 0), (side, side), (side, side)))
    taps = [(row, column) for row in range(layer.kernel) for column in range(layer.kernel)]
    shifted = (
        padded[:, :, row : row + height : step, column : column + width : step]
        * weight[:, 0, row, column][None, :, None, None]
        for row, column in taps
    )
    return functools.reduce(jnp.add, shifted)


def _as_int8(weight: Any) -> Any:
    """Rounds a filter as int8 does, a scale a channel, and lets gradients pass as if it had not (arXiv 1712.05877)."""
    scale = jnp.abs(weight).max((1, 2, 3), keepdims=True) / 127 + 1e-12
    return weight + jax.lax.stop_gradient(jnp.round(weight / scale) * scale - weight)


def forward(network: Network, parameters: Parameters, images: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    """Runs the network as it is while training.

    Each batch is normalised by its own statistics, and filters are rounded, so that the network learns to bear both.

    Returns:
        The logits, and mean and variance of every convolution's output channels.
    """
    signal = images / network.white
    statistics = []
    for layer, numbers in zip(network.layers, parameters["filters"], strict=True):
        signal = _convolve(signal, _as_int8(numbers["weight"]), layer)
        mean, variance = signal.mean((0, 2, 3)), signal.var((0, 2, 3))
        statistics.append((mean, variance))
        scale = numbers["gain"] / jnp.sqrt(variance + _EPSILON)
        shift = numbers["shift"] - mean * scale
        signal = jax.nn.relu(signal * scale[None, :, None, None] + shift[None, :, None, None])
    pooled = signal.mean((2, 3)) if network.pooling == "average" else signal.max((2, 3))
    return pooled @ parameters["dense"] + parameters["bias"], statistics


def _loss(network: Network, parameters: Parameters, images: Any, labels: Any) -> Any:
    logits, _ = forward(network, parameters, images)
    wanted = jax.nn.one_hot(labels, network.classes) * (1 - _SMOOTHING) + _SMOOTHING / network.classes
    return -(wanted * jax.nn.log_softmax(logits)).sum(1).mean()


def _adam(parameters: Any, gradients: Any, moments: Any, step: Any, rate: Any) -> tuple[Any, Any]:
    """One step of Adam with decoupled weight decay (arXiv 1412.6980, 1711.05101)."""
    tree = jax.tree_util.tree_map
    first = tree(lambda old, new: 0.9 * old + 0.1 * new, moments[0], gradients)
    second = tree(lambda old, new: 0.999 * old + 0.001 * new * new, moments[1], gradients)
    grown, squared = 1 - 0.9**step, 1 - 0.999**step

    def moved(value: Any, mean: Any, power: Any) -> Any:
        decay = 1e-4 * value if value.ndim > 1 else 0.0
        return value - rate * (mean / grown / (jnp.sqrt(power / squared) + 1e-8) + decay)

    return tree(moved, parameters, first, second), (first, second)


def _folded(network: Network, parameters: Parameters, images: Images) -> Trained:
    """Folds the normalisation, by the statistics of these pictures, and the grey scale into the filters."""
    _, statistics = forward(network, parameters, images)
    filters = []
    for number, (numbers, (mean, variance)) in enumerate(zip(parameters["filters"], statistics, strict=True)):
        scale = np.asarray(numbers["gain"]) / np.sqrt(np.asarray(variance) + _EPSILON)
        weight = np.asarray(numbers["weight"]) * scale[:, None, None, None]
        if number == 0:
            weight = weight / np.float32(network.white)
        filters.append((weight.astype(np.float32), np.asarray(numbers["shift"] - mean * scale, np.float32)))
    dense = (np.asarray(parameters["dense"], np.float32), np.asarray(parameters["bias"], np.float32))
    return Trained(tuple(filters), dense)


def fit(network: Network, images: Images, labels: Labels, course: Course) -> Trained:
    """Trains a network.

    The same machine, JAX and seed give the same weights; another processor adds floats in another order and gives
    slightly different ones.

    Args:
        network: What to train.
        images: Grey levels, shape (count, 1, size, size).
        labels: Classes, shape (count,).
        course: How to train.

    Returns:
        The trained numbers, ready for export.
    """
    rng = np.random.default_rng(course.seed)
    parameters: Any = initial(network, rng)
    zeros = jax.tree_util.tree_map(np.zeros_like, parameters)
    moments: Any = (zeros, zeros)
    steps = len(images) // course.batch * course.epochs

    def step(parameters: Any, moments: Any, images: Any, labels: Any, number: Any) -> Any:
        value, gradients = jax.value_and_grad(functools.partial(_loss, network))(parameters, images, labels)
        warm = jnp.minimum(1.0, number / (0.05 * steps))
        rate = course.rate * warm * 0.5 * (1 + jnp.cos(jnp.pi * number / steps))
        return (*_adam(parameters, gradients, moments, number, rate), value)

    compiled, number, started = jax.jit(step), 0, time.monotonic()
    for epoch in range(course.epochs):
        order = rng.permutation(len(images))
        losses = []
        for begin in range(0, len(images) - course.batch + 1, course.batch):
            chosen = order[begin : begin + course.batch]
            number += 1
            batch = course.augment(images[chosen], rng)
            parameters, moments, loss = compiled(parameters, moments, batch, labels[chosen], float(number))
            losses.append(loss)
        if epoch % 5 == 4 or epoch == course.epochs - 1:
            spent = time.monotonic() - started
            print(f"epoch {epoch + 1}/{course.epochs}: loss {float(np.mean(losses)):.4f}, {spent:.0f} s", flush=True)
    return _folded(network, parameters, images[rng.permutation(len(images))[:_STATISTICS_FROM]])
