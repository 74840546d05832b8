"""The page shows the figures that were made."""

from __future__ import annotations

import json
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_tables_are_those_of_the_figures():
    from results.page import tables

    page = (DOCS / "results.md").read_text(encoding="utf-8")
    made = list(tables(json.loads((DOCS / "images" / "results.json").read_text(encoding="utf-8"))))
    assert len(made) == 11
    for table in made:
        assert table in page, f"docs/results.md lacks\n{table}"


def test_the_page_names_the_recipes_and_pictures_that_there_are():
    from hepfm.recipe.sources import recipe_names

    page = (DOCS / "results.md").read_text(encoding="utf-8")
    figures = json.loads((DOCS / "images" / "results.json").read_text(encoding="utf-8"))
    recipes = {run["recipe"] for run in (*figures.pop("protodune").values(), *figures.values())}
    assert recipes <= set(recipe_names())
    assert all(f"`{name}`" in page for name in recipes)
    pictures = {path.name for path in (DOCS / "images").glob("results-*.png")}
    assert len(pictures) == 4
    assert all(f"images/{name}" in page for name in pictures)
