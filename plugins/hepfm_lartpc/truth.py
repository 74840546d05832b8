"""Which particle a deposit belongs to, and its semantic class: the rules, once.

They are those of the Geant4 sample (README of the reference data), which follow PILArNet's classes.

A *particle* is a track that stands for itself and all that it makes which does not. A track stands for
itself where it is

- a primary, or a charged hadron or muon: class **track** (neutral ones are carriers only);
- a photon, electron or positron that a primary, a hadron's or a nucleus' decay made, or one radiated by a
  track with more than 3 MeV: class **shower**;
- an electron of a muon's decay: class **Michel**;
- a knock-on electron of a track with more than 3 MeV: class **delta**.

What an electron or photon makes belongs to its particle. Class **LED** (low-energy deposits), of no
particle, are the deposits of Compton and photo-electrons that leave less than 2 MeV by themselves, of
neutrons, and of nuclear fragments and de-excitation that leave less than 2 MeV.
"""

from __future__ import annotations

import numpy as np

from hepfm_lartpc import species as sp
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Array, Integers, Tracks

SHOWER, TRACK, MICHEL, DELTA, LED = 0, 1, 2, 3, 4

OWN_MEV = 3.0
"""Kinetic energy above which a knock-on electron or radiated photon of a track is a particle of its own."""
LED_MEV = 2.0
"""Below it a single Compton electron is no object, only a deposit."""


def classify(tracks: Tracks) -> tuple[Integers, Array]:
    """The particle of each track, as the row of the track that stands for it, and the class of its deposits.

    Args:
        tracks: Parents before their children.

    Returns:
        ``particle (T,)`` int32 and ``semantic (T,)`` int8.
    """
    particle = np.empty(len(tracks), np.int32)
    semantic = np.empty(len(tracks), np.int8)
    _classify(
        tracks.species, tracks.parent, tracks.process, tracks.kinetic_mev, tracks.deposited_mev,
        particle, semantic,
    )  # fmt: skip
    return particle, semantic


@compiled
def _is_shower(kind: int) -> bool:
    return kind in (sp.PHOTON, sp.ELECTRON, sp.POSITRON)


@compiled
def _classify(
    kind: Integers,
    parent: Integers,
    process: Integers,
    kinetic: Array,
    deposited: Array,
    particle: Integers,
    semantic: Array,
) -> None:
    family = np.empty(len(kind), np.int8)  # the class that children inherit, beside which LED does not count
    for t in range(len(kind)):
        p, made_by = parent[t], process[t]
        particle[t] = t
        led = False
        if not _is_shower(kind[t]):
            family[t] = SHOWER if kind[t] == sp.PION_ZERO else TRACK
            fragment = made_by in (sp.NUCLEAR, sp.CAPTURE) and deposited[t] < LED_MEV
            led = kind[t] == sp.NEUTRON or (fragment and family[t] == TRACK)
        elif p < 0:
            family[t] = SHOWER
        elif _is_shower(kind[p]):
            family[t], particle[t] = family[p], particle[p]
            led = made_by in (sp.COMPTON, sp.PHOTOELECTRIC) and deposited[t] < LED_MEV
        elif made_by == sp.DECAY and kind[p] in (sp.MUON_MINUS, sp.MUON_PLUS):
            family[t] = MICHEL
        elif made_by in (sp.DECAY, sp.NUCLEAR, sp.CAPTURE, sp.ANNIHILATION):
            family[t] = SHOWER
        elif kinetic[t] > OWN_MEV:
            family[t] = DELTA if made_by == sp.DELTA else SHOWER
        else:
            family[t], particle[t] = family[p], particle[p]
        semantic[t] = LED if led else family[t]
