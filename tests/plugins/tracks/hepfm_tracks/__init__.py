"""A generator as a stranger would write it; it is installed by putting its folder on sys.path."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_generators() -> list[api.GeneratorSpec]:
    return [
        api.GeneratorSpec(
            name="tracks",
            target="hepfm_tracks.generator:Tracks",
            summary="Straight muons in a cube of argon.",
        )
    ]
