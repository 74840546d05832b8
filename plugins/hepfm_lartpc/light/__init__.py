"""Scintillation light: from the photons of each deposit to the waveforms of the photon detectors."""

from __future__ import annotations

from hepfm_lartpc.light.simulation import Light, LightSimulation
from hepfm_lartpc.light.visibility import Visibility

__all__ = ["Light", "LightSimulation", "Visibility"]
