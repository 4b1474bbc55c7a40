"""Lesion shapes as signed distances: negative inside, in mm, of points given relative to the lesion's centre."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Shape = Callable[[np.ndarray], np.ndarray]
"""Points, shape (..., 3), RAS mm relative to the centre -> signed distance in mm, shape (...)."""


def ellipsoid(radii_mm: np.ndarray, axes: np.ndarray) -> Shape:
    """An ellipsoid (its distance is exact on the surface and to first order near it).

    Args:
        radii_mm: three half axes.
        axes: 3x3, rows are the unit directions of the half axes.
    """
    radii = np.asarray(radii_mm, dtype=np.float32)

    def distance(points: np.ndarray) -> np.ndarray:
        local = points @ axes.T.astype(np.float32) / radii
        length = np.linalg.norm(local, axis=-1)
        slope = np.linalg.norm(local / radii, axis=-1) / np.maximum(length, 1e-6)
        return (length - 1) / np.maximum(slope, 1.0 / radii.max())

    return distance


def blob(radius_mm: float, roughness: float, rng: np.random.Generator) -> Shape:
    """A roundish body whose radius varies smoothly with direction.

    `roughness` is the typical deviation of the radius as a share of it; 0 is a sphere.
    """
    waves = rng.normal(size=(6, 3)).astype(np.float32) * 2.2
    phases = rng.uniform(0, 2 * np.pi, 6).astype(np.float32)
    stretch = np.exp(rng.normal(0, roughness, 3)).astype(np.float32)
    stretch /= np.cbrt(stretch.prod())

    def distance(points: np.ndarray) -> np.ndarray:
        scaled = points / stretch
        length = np.linalg.norm(scaled, axis=-1)
        direction = scaled / np.maximum(length, 1e-3)[..., None]
        bumps = np.cos(direction @ waves.T + phases).sum(axis=-1) / np.sqrt(3.0)
        return length - radius_mm * (1 + 0.5 * roughness * bumps)

    return distance


def spiculated(radius_mm: float, rng: np.random.Generator) -> Shape:
    """A lobulated body with thin spikes that run out into the surroundings."""
    body = blob(radius_mm, 0.2, rng)
    count = int(rng.integers(10, 20))
    directions = rng.normal(size=(count, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = rng.uniform(0.5, 1.3, count).astype(np.float32) * max(radius_mm, 5.0)
    width_mm = 0.8 + 0.05 * radius_mm

    def distance(points: np.ndarray) -> np.ndarray:
        nearest = body(points)
        for direction, length in zip(directions, lengths, strict=True):
            along = points @ direction
            across = np.sqrt(np.maximum((points**2).sum(axis=-1) - along**2, 0))
            share = np.clip((radius_mm + length - along) / length, 0, 1)
            spike = np.maximum(across - width_mm * share, along - radius_mm - length)
            nearest = np.minimum(nearest, np.where(along > 0, spike, np.inf))
        return nearest

    return distance


def faceted(radius_mm: float, rng: np.random.Generator) -> Shape:
    """A stone with flat sides, as stones have that lie against each other."""
    normals = rng.normal(size=(9, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    offsets = (radius_mm * rng.uniform(0.75, 1.0, 9)).astype(np.float32)

    def distance(points: np.ndarray) -> np.ndarray:
        return np.maximum(np.linalg.norm(points, axis=-1) - radius_mm, (points @ normals.T - offsets).max(axis=-1))

    return distance


def plate(normal: np.ndarray, thickness_mm: float, radius_mm: float, rng: np.random.Generator) -> Shape:
    """A thin, slightly curved disc."""
    unit = np.asarray(normal, dtype=np.float32) / np.linalg.norm(normal)
    bend = float(rng.uniform(-0.004, 0.004))

    def distance(points: np.ndarray) -> np.ndarray:
        height = points @ unit
        across = np.sqrt(np.maximum((points**2).sum(axis=-1) - height**2, 0))
        thinning = np.clip(1.2 - across / radius_mm, 0.1, 1)
        return np.maximum(np.abs(height - bend * across**2) - thickness_mm / 2 * thinning, across - radius_mm)

    return distance


def random_axes(rng: np.random.Generator) -> np.ndarray:
    """A random rotation, 3x3."""
    turned, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return turned
