"""Decays, captures and nuclear interactions of hadrons in argon, as compiled functions for the transport."""

from hepfm_lartpc.nuclear.cross_sections import hadron_length_mm
from hepfm_lartpc.nuclear.decays import decay
from hepfm_lartpc.nuclear.hadrons import interact
from hepfm_lartpc.nuclear.products import COUNTED_MASS_MEV
from hepfm_lartpc.nuclear.stopping import stops

__all__ = ["COUNTED_MASS_MEV", "decay", "hadron_length_mm", "interact", "stops"]
