"""The process that runs Geant4: told what to simulate over a pipe, until the pipe is closed."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

import geant4_pybind as g4
import numpy as np

from hepfm_lartpc import species as sp
from hepfm_lartpc.geant4.messages import Setup, Shower

_PROCESSES = {
    "eIoni": sp.DELTA, "muIoni": sp.DELTA, "hIoni": sp.DELTA, "ionIoni": sp.DELTA,
    "eBrem": sp.BREMSSTRAHLUNG, "muBrems": sp.BREMSSTRAHLUNG, "hBrems": sp.BREMSSTRAHLUNG,
    "conv": sp.PAIR, "muPairProd": sp.PAIR, "hPairProd": sp.PAIR, "GammaToMuPair": sp.PAIR,
    "compt": sp.COMPTON, "phot": sp.PHOTOELECTRIC, "annihil": sp.ANNIHILATION, "Decay": sp.DECAY,
    "RadioactiveDecay": sp.DECAY, "Radioactivation": sp.DECAY, "nCapture": sp.CAPTURE,
}  # fmt: skip


def process_of(name: str, model: str) -> int:
    """Our number of the process by which Geant4 made a particle; what is left are nuclear interactions.

    A negative muon that stopped is captured into an atom by one process, which then has it decay or hands it
    to the nucleus: the model says which.
    """
    if name == "muMinusCaptureAtRest" and ("DIO" in model or "Decay" in model):
        return sp.DECAY
    if "Capture" in name:
        return sp.CAPTURE
    return _PROCESSES.get(name, sp.NUCLEAR)


class _Argon(g4.G4VUserDetectorConstruction):  # type: ignore[misc]
    def __init__(self, setup: Setup) -> None:
        super().__init__()
        argon = g4.G4Material(
            "liquid argon",
            18.0,
            39.948 * g4.g / g4.mole,
            setup.density_g_cm3 * g4.g / g4.cm3,
            g4.kStateLiquid,
        )
        argon.GetIonisation().SetMeanExcitationEnergy(setup.excitation_ev * g4.eV)
        self.limits = g4.G4UserLimits(setup.max_step_mm)
        self.box = g4.G4Box("argon", *setup.half_mm)
        self.volume = g4.G4LogicalVolume(self.box, argon, "argon")
        self.volume.SetUserLimits(self.limits)

    def Construct(self) -> Any:
        return g4.G4PVPlacement(None, g4.G4ThreeVector(), self.volume, "argon", None, False, 0, False)


def _physics(setup: Setup) -> Any:
    if setup.physics_list is None:
        physics = g4.G4VModularPhysicsList()
        physics.RegisterPhysics(g4.G4EmStandardPhysics())
        physics.RegisterPhysics(g4.G4DecayPhysics())
    else:
        factory = g4.G4PhysListFactory()
        factory.SetVerbose(0)
        if not factory.IsReferencePhysList(setup.physics_list):
            known = ", ".join(str(name) for name in factory.AvailablePhysLists())
            raise LookupError(f"Geant4 has no physics list '{setup.physics_list}'; it has {known}")
        physics = factory.GetReferencePhysList(setup.physics_list)
    physics.RegisterPhysics(g4.G4StepLimiterPhysics())
    physics.SetVerboseLevel(0)
    physics.SetDefaultCutValue(setup.cut_mm)
    return physics


class _Event(g4.G4VUserPrimaryGeneratorAction):  # type: ignore[misc]
    """Gives the primaries of the event that is to be simulated."""

    def __init__(self) -> None:
        super().__init__()
        self.primaries: list[tuple[Any, ...]] = []
        self._table = g4.G4ParticleTable.GetParticleTable()
        self._gun = g4.G4ParticleGun(1)

    def GeneratePrimaries(self, event: Any) -> None:
        for pdg, kinetic, direction, position, time_ns in self.primaries:
            gun = self._gun
            gun.SetParticleDefinition(self._table.FindParticle(pdg))
            gun.SetParticleEnergy(kinetic)
            gun.SetParticleMomentumDirection(g4.G4ThreeVector(*direction))
            gun.SetParticlePosition(g4.G4ThreeVector(*position))
            gun.SetParticleTime(time_ns)
            gun.GeneratePrimaryVertex(event)


class _Record:
    """Tracks and steps of the event so far."""

    def __init__(self, primaries: int) -> None:
        self.rows = {number + 1: number for number in range(primaries)}  # Geant4 numbers primaries from 1
        self.pdg, self.parent, self.process = [0] * primaries, [-1] * primaries, [sp.PRIMARY] * primaries
        self.states: list[list[float]] = [[0.0] * 13 for _ in range(primaries)]
        self.left = [-1.0] * primaries
        self.row: list[int] = []
        self.steps: list[tuple[float, ...]] = []

    def shower(self) -> Shower:
        return Shower(
            pdg=np.array(self.pdg, np.int64),
            parent=np.array(self.parent, np.int32),
            process=np.array(self.process, np.int32),
            states=np.array(self.states, np.float64).reshape(-1, 13),
            left_mev=np.array(self.left, np.float64),
            row=np.array(self.row, np.int32),
            steps=np.array(self.steps, np.float64).reshape(-1, 9),
        )


class _Tracks(g4.G4UserTrackingAction):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.record = _Record(0)
        self._processes: dict[tuple[str, str], int] = {}

    def PreUserTrackingAction(self, track: Any) -> None:
        record, number, parent = self.record, track.GetTrackID(), track.GetParentID()
        direction, at = track.GetMomentumDirection(), track.GetPosition()
        state = [
            track.GetKineticEnergy(), direction.x, direction.y, direction.z, at.x, at.y, at.z,
            track.GetGlobalTime(), at.x, at.y, at.z, track.GetGlobalTime(), 0.0,
        ]  # fmt: skip
        pdg = track.GetParticleDefinition().GetPDGEncoding()
        if parent == 0:
            row = record.rows[number]
            record.pdg[row], record.states[row] = pdg, state
            return
        made = (track.GetCreatorProcess().GetProcessName(), track.GetCreatorModelName())
        if made not in self._processes:
            self._processes[made] = process_of(*made)
        record.rows[number] = len(record.pdg)
        record.pdg.append(pdg)
        record.parent.append(record.rows[parent])
        record.process.append(self._processes[made])
        record.states.append(state)
        record.left.append(-1.0)

    def PostUserTrackingAction(self, track: Any) -> None:
        at = track.GetPosition()
        state = self.record.states[self.record.rows[track.GetTrackID()]]
        state[8:] = [at.x, at.y, at.z, track.GetGlobalTime(), track.GetTrackLength()]


class _Steps(g4.G4UserSteppingAction):  # type: ignore[misc]
    def __init__(self, tracks: _Tracks) -> None:
        super().__init__()
        self.tracks = tracks

    def UserSteppingAction(self, step: Any) -> None:
        record, after = self.tracks.record, step.GetPostStepPoint()
        row = record.rows[step.GetTrack().GetTrackID()]
        if after.GetStepStatus() == g4.fWorldBoundary:
            record.left[row] = after.GetKineticEnergy()
        deposit = step.GetTotalEnergyDeposit()
        if deposit > 0.0:
            before, end = step.GetPreStepPoint(), after.GetPosition()
            charged = before.GetCharge() != 0.0
            begin = before.GetPosition() if charged else end
            record.row.append(row)
            record.steps.append((
                deposit, step.GetStepLength() if charged else 0.0, begin.x, begin.y, begin.z,
                end.x, end.y, end.z, before.GetGlobalTime() if charged else after.GetGlobalTime(),
            ))  # fmt: skip


class _Actions(g4.G4VUserActionInitialization):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.event, self.tracks = _Event(), _Tracks()
        self.steps = _Steps(self.tracks)

    def Build(self) -> None:
        for action in (self.event, self.tracks, self.steps):
            self.SetUserAction(action)


def serve(pipe: Connection) -> None:
    """Sets Geant4 up as the first message says, and answers each event's primaries with a `Shower`."""
    setup: Setup = pipe.recv()
    manager = g4.G4RunManagerFactory.CreateRunManager(g4.G4RunManagerType.Serial)
    # Geant4 keeps bare pointers to these: they must live as long as it does. Actions come after the physics.
    argon, physics = _Argon(setup), _physics(setup)
    manager.SetUserInitialization(argon)
    manager.SetUserInitialization(physics)
    actions = _Actions()
    manager.SetUserInitialization(actions)
    commands = g4.G4UImanager.GetUIpointer()
    for command in ("/process/em/verbose 0", "/process/had/verbose 0", "/run/verbose 0"):
        commands.ApplyCommand(command)
    manager.Initialize()
    if setup.physics_list is not None and not setup.muon_capture:
        commands.ApplyCommand("/process/inactivate muMinusCaptureAtRest")
    pipe.send(("ready", g4.G4Version))
    while True:
        seeds, primaries = pipe.recv()
        g4.G4Random.setTheSeeds([*seeds, 0])  # 0 ends the list
        actions.event.primaries = primaries
        actions.tracks.record = _Record(len(primaries))
        manager.BeamOn(1)
        pipe.send(("event", actions.tracks.record.shower()))


def main() -> None:
    """Serves the pipe whose number is the first argument."""
    # Ctrl-C on a terminal and many a SIGTERM reach all processes of a run, which decides what follows.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    pipe = Connection(int(sys.argv[1]))
    status = 0
    try:
        serve(pipe)
    except EOFError:
        pass  # nobody wants more events
    except Exception as error:  # noqa: BLE001  whatever it was, the other side must hear of it
        traceback.print_exc()
        pipe.send(("failed", f"{type(error).__name__}: {error}"))
        status = 1
    sys.stdout.flush()
    os._exit(status)  # Geant4's and Python's ends disagree about who frees what


if __name__ == "__main__":
    main()
