"""Fills corpus/ from seeds/ and from the fixtures of the crates: python3 prepare.py. The corpus then grows by fuzzing."""

import json
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

# Files after the byte that chooses the file they stand for.
CHOSEN = {
    "adapter": [(0, path) for path in MODELS.glob("adapters/*/adapter_config.json")]
    + [(1, path) for path in MODELS.glob("adapters/*/adapter_model.safetensors")]
    + [(2, path) for path in MODELS.glob("adapters/*/adapter_model.bin")],
    "byte_level": [(0, MODELS / "byte-level/vocab.json"), (1, MODELS / "byte-level/merges.txt")],
    "foreign_packed": [(3, path) for path in STATES.glob("*/*.npy")]
    + [(4, path) for path in STATES.glob("*/*.npz")]
    + [(5, path) for path in STATES.glob("dumps/*.pt")]
    + [(2, path) for path in STATES.glob("dumps/*.gz")],
    "quantised": [
        (2 * number + place, MODELS / "quantised" / model / name)
        for number, model in enumerate(["nf4", "nf4-nested", "fp4", "int8", "fp8-channel", "fp8-tensor", "fp8-block"])
        for place, name in enumerate(["config.json", "model.safetensors"])
    ],
}

for target in (HERE / "fuzz_targets").glob("*.rs"):
    corpus = HERE / "corpus" / target.stem
    corpus.mkdir(parents=True, exist_ok=True)
    for path in [*(HERE / "seeds" / target.stem).glob("*"), *FIXTURES.get(target.stem, [])]:
        shutil.copy(path, corpus / f"{path.parent.name}-{path.name}")
    for choice, path in CHOSEN.get(target.stem, []):
        (corpus / f"{path.parent.name}-{path.name}-{choice}").write_bytes(bytes([choice]) + path.read_bytes())

# The files that stand beside tokenizers in fixtures. The vocabulary of a case is another target's.
KINDS = ["tokenizer_config.json", "added_tokens.json", "special_tokens_map.json", "config.json"]
cases = json.loads((MODELS / "tokenizer-json/ids.json").read_text())["cases"] + json.loads((MODELS / "byte-level/beside.json").read_text())
for number, case in enumerate(cases):
    for name in KINDS:
        if (content := case["files"].get(name)) is None:
            continue
        text = content if isinstance(content, str) else json.dumps(content)
        for kind in range(3):
            choice = len(KINDS) * kind + KINDS.index(name)
            (HERE / "corpus/tokenizer_settings" / f"{number}-{choice}-{name}").write_bytes(bytes([choice]) + text.encode())
