"""Charge: from the energy of each deposit to electrons, their drift, and what wires or pixels read."""
