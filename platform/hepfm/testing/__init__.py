"""Contract suites for plugin authors: call them from a test, on a class of your own.

Each one runs a list of checks and raises one ``AssertionError`` that names every rule that is broken.
"""

from hepfm.testing.backbone import backbone_contract
from hepfm.testing.generator import generator_contract
from hepfm.testing.head import head_contract
from hepfm.testing.modality import modality_contract
from hepfm.testing.objective import objective_contract
from hepfm.testing.reader import reader_contract

__all__ = [
    "backbone_contract",
    "generator_contract",
    "head_contract",
    "modality_contract",
    "objective_contract",
    "reader_contract",
]
