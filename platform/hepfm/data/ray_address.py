"""The address of a running Ray: what answers there is connected to, what does not is refused in a sentence.

Left alone, Ray (2.60) asks for minutes where nothing is, and where something else is.
"""

from __future__ import annotations

import os
import re
import socket

from hepfm.data.local_ray import init_options
from hepfm.errors import RecipeError, TrainingError

_VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")


def address_of(given: str | None) -> str | None:
    """The address of a running Ray: the one given, else ``RAY_ADDRESS``; None for a Ray of our own."""
    address = given or os.environ.get("RAY_ADDRESS")
    return None if address in ("", "local") else address


def answers(address: str) -> bool:
    """Whether something listens at ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2.0).close()
    except (OSError, ValueError, OverflowError):  # the last two of what is no port
        return False
    return True


def refuse_silent(given: str | None, *, named: str) -> None:
    """Refuses an address where no Ray can be, within seconds and without importing Ray.

    Args:
        given: The address; by default ``RAY_ADDRESS``.
        named: What gave it, for messages.

    Raises:
        RecipeError: It is a URL, or nothing listens there.
    """
    address = address_of(given)
    if address is None:
        return
    if "://" in address:
        raise RecipeError(
            f"'{address}' is not an address that a program connects to.",
            where=_where(given, named),
            fix="name HOST:PORT of Ray's head (of hepfm up: hepfm status --json), or leave it out for "
            f"a Ray of its own. The URL of a dashboard takes jobs: hepfm submit --address {address}",
        )
    if ":" in address and not answers(address):
        raise _refused(address, "nothing listens there", _where(given, named))


def connect(given: str | None, *, named: str, cpus: int) -> bool:
    """Connects this process to a running Ray, or to one of its own.

    Args:
        given: The address; by default ``RAY_ADDRESS``, else a Ray is started, which ends with the process.
        named: What gave it, for messages.
        cpus: Cores that a Ray of our own offers.

    Returns:
        Whether it was not connected before.

    Raises:
        RecipeError: No Ray answers at the address, it wants another token, or it has other versions.
        TrainingError: A Ray of our own did not start in time.
    """
    refuse_silent(given, named=named)
    address, where = address_of(given), _where(given, named)
    options = init_options(address, cpus=cpus)
    import ray

    if ray.is_initialized():
        return False
    if address is None:
        try:
            ray.init(**options)
        except Exception as error:
            if "timed out during startup" not in str(error):  # it is a bare Exception
                raise
            raise TrainingError(
                "Ray did not start in the 30 s that it gives itself.",
                fix="try again when the machine is less busy; what is small needs no Ray: --in-process",
            ) from error
        return True
    from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
    from ray._private.services import canonicalize_bootstrap_address_or_die
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import RayError

    try:
        ensure_token_if_auth_enabled(create_token_if_missing=False)  # else Ray would abort the process
        head = canonicalize_bootstrap_address_or_die(address)  # of "auto", and for 127.0.0.1
        if not answers(head):
            raise ConnectionError(f"nothing listens at {head}, where Ray looks for it")  # noqa: TRY301
        GcsClient(address=head)  # once: ray.init tries twenty times, whatever the reason
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise _refused(address, str(error.__cause__ or error), where) from error
    return True


def _where(given: str | None, named: str) -> str:
    return named if given else "RAY_ADDRESS"


def _refused(address: str, why: str, where: str) -> RecipeError:
    """The sentence for what Ray says, in its version 2.60."""
    if "ersion mismatch" in why:
        there, here = (f"Ray {ray} and Python {python}" for ray, python in _VERSIONS.findall(why))
        return RecipeError(
            f"The Ray cluster at '{address}' has {there}; here is {here}.",
            where=where,
            fix="install the same versions of Python and Ray here and there",
        )
    if "token" in why.lower():
        given = os.environ.get("RAY_AUTH_TOKEN_PATH") or ("RAY_AUTH_TOKEN" in os.environ and "RAY_AUTH_TOKEN")
        return RecipeError(
            f"The Ray cluster at '{address}' does not take the token of {given}."
            if given
            else f"The Ray cluster at '{address}' wants a token, and there is none for it here.",
            where=where,
            fix="set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to a file with the cluster's token",
        )
    return RecipeError(
        f"No Ray cluster answers at '{address}': {why.rstrip('.')}.",
        where=where,
        fix="start one (deploy/local/README.md), correct the address, or leave it out for a Ray of its own",
    )
