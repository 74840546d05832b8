"""Transport of particles through liquid argon."""

from hepfm_lartpc.transport.config import TransportConfig
from hepfm_lartpc.transport.tables import range_mm
from hepfm_lartpc.transport.transport import Transport

__all__ = ["Transport", "TransportConfig", "range_mm"]
