"""The record of runs: run folders, metrics, MLflow."""
