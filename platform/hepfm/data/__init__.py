"""From readers to steps: source, sampler, packing, loader."""
