"""Event sources on disk: what every reader stands on, and the event store."""
