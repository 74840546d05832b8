"""hepfm: the open platform for foundation models in high-energy physics."""

from importlib.metadata import version

__version__ = version("hepfm")
