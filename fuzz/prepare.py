"""Fills corpus/ from seeds/ and from the fixtures of the crates: python3 prepare.py. The corpus then grows by fuzzing."""

import pathlib
import shutil

HERE = pathlib.Path(__file__).parent
MODELS = HERE / "../crates/inject-models/tests/fixtures"
STATES = HERE / "../crates/inject-states/tests/fixtures"

FIXTURES = {
    "config": list(MODELS.glob("*/config.json")),
    "foreign_npy": list(STATES.glob("*/*.npy")),
    "foreign_npz": list(STATES.glob("*/*.npz")),
    "foreign_safetensors": [*STATES.glob("foreign/*.safetensors"), *STATES.glob("dumps/*.safetensors")],
    "foreign_torch": list(STATES.glob("dumps/*.pt")),
    "prompts_parquet": list(STATES.glob("foreign/*.parquet")),
    "safetensors_header": list(STATES.glob("foreign/*.safetensors")),
    "safetensors_weights": [STATES / "tiny/model.safetensors"],
    "sentence_piece": list(MODELS.glob("sentence-piece/*.model")),
    "shard_index": list(MODELS.glob("*/*.index.json")),
}

for target in (HERE / "fuzz_targets").glob("*.rs"):
    corpus = HERE / "corpus" / target.stem
    corpus.mkdir(parents=True, exist_ok=True)
    for path in [*(HERE / "seeds" / target.stem).glob("*"), *FIXTURES.get(target.stem, [])]:
        shutil.copy(path, corpus / f"{path.parent.name}-{path.name}")
