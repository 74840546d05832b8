"""Modules that work on packed events: segments, attention, transformer, state-space model, encoder, EMA."""
