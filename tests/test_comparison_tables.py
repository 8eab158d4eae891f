"""The tables of docs/comparison.md are those of the ranks in docs/ranks/."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dreamprvr.evaluation.metrics import recalls

DOCS = Path(__file__).parents[1] / "docs"
SECTIONS = {"synthetic": "## 1 ", "charades_simulated": "## 2 "}


def section(name: str) -> str:
    text = (DOCS / "comparison.md").read_text(encoding="utf-8")
    return text.partition(SECTIONS[name])[2].partition("\n## ")[0]


def results(name: str) -> dict[str, pd.DataFrame]:
    """Recalls of the runs, a row for each seed, by the label of the model."""
    ranks = pd.read_csv(DOCS / "ranks" / f"{name}.csv.xz", dtype={"query_id": str})
    columns = ranks.columns[2:]
    found = {}
    for label in dict.fromkeys(column.rpartition(" ")[0] for column in columns):
        runs = [ranks[c] for c in columns if c.rpartition(" ")[0] == label]
        found[label] = pd.DataFrame([recalls(torch.tensor(run.to_numpy())) for run in runs])
    return found


@pytest.mark.parametrize("name", SECTIONS)
def test_a_row_has_the_means_and_deviations_of_the_ranks(name: str) -> None:
    text, found = section(name).replace("*", ""), results(name)
    assert {"dreamprvr", "words", "plus", "relations", "trace"} <= found.keys()
    for label, runs in found.items():
        assert len(runs) == 3
        mean, deviation = runs.mean(), runs.std(ddof=1)
        cells = [f"{mean[key]:.1f} ± {deviation[key]:.1f}" for key in runs]
        if (name, label) == ("charades_simulated", "trace"):  # told in a sentence
            cells = cells[-1:]
        assert " | ".join(cells) in text, (label, cells)


def test_the_ranks_are_of_the_whole_test_splits() -> None:
    for name, videos, captions in (("synthetic", 250, 1188), ("charades_simulated", 1334, 3720)):
        ranks = pd.read_csv(DOCS / "ranks" / f"{name}.csv.xz")
        assert len(ranks) == ranks["query_id"].nunique() == captions
        values = ranks.iloc[:, 2:].to_numpy()
        assert np.issubdtype(values.dtype, np.integer)
        assert values.min() == 1
        assert values.max() <= videos
