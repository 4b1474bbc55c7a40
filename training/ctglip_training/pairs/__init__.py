"""Grounded pairs from reports: which sentence speaks of which organ, normal or not, with which finding."""
