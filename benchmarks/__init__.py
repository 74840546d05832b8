"""The performance scoreboard, one file a row."""
