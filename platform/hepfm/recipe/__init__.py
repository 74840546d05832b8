"""Recipes: what a run is, where each value came from, and its hash."""
