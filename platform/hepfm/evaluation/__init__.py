"""What a pretrained model is worth: predictions, probes, few-shot curves, figures with intervals."""
