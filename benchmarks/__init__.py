"""Figures of speed (the scoreboard, one file a row) and of what is learned."""
