"""``--workers`` as a recipe's setting."""

from __future__ import annotations

import pytest

from hepfm.cli.launch import cluster_overrides
from hepfm.errors import RecipeError
from hepfm.recipe.load import load_recipe
from hepfm.recipe.schema import WorkerRange


@pytest.mark.parametrize(("text", "workers"), [("2", 2), ("1:4", WorkerRange(min=1, max=4))])
def test_a_number_or_a_range_over_whatever_the_recipe_says(text, workers):
    flags = cluster_overrides(workers=text, in_process=False, address=None)
    for before in ("cluster.workers=3", "cluster.workers={min: 2, max: 9}"):
        cluster = load_recipe("image3d/masked-tiny", [before, *flags]).recipe.cluster
        assert cluster.workers == workers
        assert cluster.launcher == "ray"


@pytest.mark.parametrize("text", ["two", "1:", ":4", "1:2:3", "-1", "", "0", "0:2", "3:2"])
def test_anything_else_is_refused(text):
    with pytest.raises(RecipeError, match="is no number of workers"):
        cluster_overrides(workers=text, in_process=False, address=None)


def test_one_process_is_one_worker():
    assert "cluster.workers=1" in cluster_overrides(workers="1", in_process=True, address=None)
    with pytest.raises(RecipeError, match="--in-process is one worker"):
        cluster_overrides(workers="1:2", in_process=True, address=None)
