"""Self-supervised objectives that serve any modality."""
