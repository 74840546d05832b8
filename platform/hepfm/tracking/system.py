"""The machine's own metrics: processor, memory, disk, network, GPUs, as MLflow names them."""

from __future__ import annotations

import time
from typing import Any

_INTERVAL_S = 10.0


class SystemMetrics:
    """Samples MLflow's monitors.

    MLflow's own thread for this asks the server for the run each time, and ends for good when it does not
    answer once; here the samples take the same way as all other metrics.
    """

    first_key = "system/cpu_utilization_percentage"

    def __init__(self) -> None:
        self._monitors: list[Any] | None = None
        self._next = time.monotonic() + _INTERVAL_S

    def sample(self) -> dict[str, float]:
        """The metrics, or nothing where the last sample is less than 10 s old."""
        if time.monotonic() < self._next:
            return {}
        if self._monitors is None:
            self._monitors = _monitors()
        self._next = time.monotonic() + _INTERVAL_S
        found: dict[str, float] = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            found |= {f"system/{key}": float(value) for key, value in monitor.aggregate_metrics().items()}
            monitor.clear_metrics()
        return found


def _monitors() -> list[Any]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        monitors.append(GPUMonitor())
    except Exception:  # noqa: BLE001 - no NVIDIA library, driver or device: each fails in its own way
        return monitors
    return monitors
