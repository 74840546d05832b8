"""Files of the detector NAME for hepfm."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_readers() -> list[api.ReaderSpec]:
    return [
        api.ReaderSpec(
            name="NAME",
            target="MODULE.reader:CLASS",
            summary="Hits of NAME (HDF5).",
            suffixes=(".h5",),
        )
    ]
