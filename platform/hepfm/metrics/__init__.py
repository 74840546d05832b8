"""Figures for tasks: statistics that add up over events, and what follows from their sums."""
