"""Figures of speed on one CUDA card: ``python -m benchmarks.gpu``. torch and a few pure-Python wheels
suffice.
"""
