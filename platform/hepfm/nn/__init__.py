"""Modules that work on packed events: ragged operations, attention, transformer, encoder, EMA."""
