"""Putting several findings into one patient."""

from __future__ import annotations

import numpy as np

from ctglip_training.simulate.catalogue import FINDINGS
from ctglip_training.simulate.patient import Finding, Patient


def simulate_findings(patient: Patient, rng: np.random.Generator, count: int) -> Patient:
    """The patient with up to `count` more findings, each in another organ that is present and has none yet.

    Each kind of finding is as likely as any other, whatever the number of organs that it can lie in. Those that
    displace neighbours are drawn first. Fewer findings come back only where no other fits.

    Args:
        patient: not modified.
        rng: decides everything; the same state gives the same patient.
        count: how many findings; a heart kept as several parts counts once.
    """
    choices = _choices(patient, rng)
    wanted = count
    while wanted > 0 and choices:
        taken = {finding.organ for finding in patient.findings}
        plan: list[tuple[Finding, str]] = []
        while choices and len(plan) < wanted:
            finding, organ = choices.pop(0)
            if organ not in taken:
                plan.append((finding, organ))
                taken.add(organ)
        for finding, organ in sorted(plan, key=lambda pair: not pair[0].moves_neighbours):
            made = finding.apply(patient, organ, rng)
            if made is not None:
                patient, wanted = made, wanted - 1
    return patient


def _choices(patient: Patient, rng: np.random.Generator) -> list[tuple[Finding, str]]:
    """Every finding in every organ that is present, in random order; the first of each kind come before the second."""
    counts = patient.segmentation.voxel_counts()
    present = {name for name, voxels in zip(patient.segmentation.names, counts, strict=True) if voxels > 0}
    ranked: list[tuple[int, float, Finding, str]] = []
    for finding in FINDINGS.values():
        organs = [organ for organ in finding.organs if organ in present]
        for rank, place in enumerate(rng.permutation(len(organs))):
            ranked.append((rank, float(rng.random()), finding, organs[int(place)]))
    ranked.sort(key=lambda entry: entry[:2])
    return [(finding, organ) for _, _, finding, organ in ranked]
