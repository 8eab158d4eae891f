import json
from pathlib import Path

from search.engine_cases import DIM, engine


def test_half_precision_no_log_and_a_graph_for_candidates_alone(tmp_path: Path) -> None:
    made = engine("edge", tmp_path)
    made.close()
    found = json.loads((tmp_path / "engine" / "edge_config.json").read_text())
    assert not found["wal_enabled"]
    assert {name: v["datatype"] for name, v in found["vectors"].items()} == dict.fromkeys(
        ("tokens", "segments", "registers"), "float16"
    )
    links = {name: v["hnsw_config"]["m"] for name, v in found["vectors"].items()}
    assert links == {"tokens": 0, "segments": 16, "registers": 0}
    assert found["vectors"]["tokens"]["size"] == DIM + 2
