"""Figures of merit with intervals, published protocols, and the folder that results are written to."""
