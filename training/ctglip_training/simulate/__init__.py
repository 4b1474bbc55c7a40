"""Simulated patients: known findings put into real CTs, with the sentence that a report would say."""

from __future__ import annotations

from ctglip_training.simulate.catalogue import FINDINGS
from ctglip_training.simulate.make import simulate_findings
from ctglip_training.simulate.patient import Finding, Patient, SimulatedFinding

__all__ = ["FINDINGS", "Finding", "Patient", "SimulatedFinding", "simulate_findings"]
