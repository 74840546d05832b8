"""The training loop, its engine, checkpoints and launchers."""
