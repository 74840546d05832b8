"""The task NAME for hepfm: the class of each point."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_heads() -> list[api.HeadSpec]:
    return [
        api.HeadSpec(
            name="NAME",
            target="MODULE.head:CLASS",
            summary="The class of each point.",
        )
    ]
