# ruff: noqa: INP001
"""The physics of the LArTPC simulation beside its references: the pictures and figures of docs/validation.md.

``python tools/validate_lartpc.py`` takes half a minute on one core, and a minute more where nothing is
compiled yet. It writes ``docs/images/validation-*.png`` and ``validation.json``, prints the table, and ends
with 1 where a figure lies further from its reference than it may.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from lartpc_validation import charge, decays, energy_loss, light, scattering, showers
from lartpc_validation.picture import Check, finish, panels

ROOT = Path(__file__).parents[1]
PAGES = {
    "energy-loss": energy_loss,
    "scattering": scattering,
    "showers": showers,
    "decays": decays,
    "charge": charge,
    "light": light,
}


def main() -> int:
    """Makes the pictures, and says what does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("HEPFM_REAL_DATA", ROOT.parent / "shared" / "data")),
        help="folder with larndsim/, which the comparison of pixels needs",
    )
    parser.add_argument("--only", choices=PAGES, nargs="*", default=list(PAGES))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    checks: dict[str, list[Check]] = {}
    for name in given.only:
        page = PAGES[name]
        figure, axes = panels(page.TITLES)
        drawn = page.draw(axes, given.data / "larndsim") if page is charge else page.draw(axes)
        checks[name] = list(drawn)
        finish(figure, given.out / f"validation-{name}.png")
    if set(given.only) == set(PAGES):
        content = {name: [asdict(check) for check in of] for name, of in checks.items()}
        (given.out / "validation.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    flat = [check for of in checks.values() for check in of]
    print("| what | hepfm | reference | within | source |\n|---|---|---|---|---|")  # noqa: T201
    for check in flat:
        within = "" if check.within is None else f"{check.within:.3g}"
        found = f"{check.hepfm:.4g}" + ("" if check.holds else " (!)")
        print(f"| {check.what} | {found} | {check.reference:.4g} | {within} | {check.source} |")  # noqa: T201
    return 0 if all(check.holds for check in flat) else 1


if __name__ == "__main__":
    sys.exit(main())
