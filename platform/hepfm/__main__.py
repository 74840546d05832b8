"""``python -m hepfm``, the same as ``hepfm``; torchrun starts its processes this way."""

from hepfm.cli.main import main

main()
