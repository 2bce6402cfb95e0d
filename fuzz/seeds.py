"""Writes the seeds that stand for a kind of file or of attack: python3 seeds.py. Needs torch for the pickles.

The seeds of stores, lenses and journals are written by the ignored tests `hostile_files::write_seeds` of their crates."""

import gzip
import io
import json
import pathlib
import pickle
import struct
import zipfile

HERE = pathlib.Path(__file__).parent / "seeds"


def seed(target, name, content):
    path = HERE / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, (bytes, str)):
        content = json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


# config.json: absurd sizes, wrong kinds of values.
gpt2 = {"model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 2, "n_positions": 48, "vocab_size": 97,
        "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"}
for key in ["n_embd", "n_head", "n_layer", "n_positions", "vocab_size"]:
    for name, value in {"huge": 2**63 - 1, "zero": 0, "negative": -1, "fraction": 0.5, "text": "8", "list": [8]}.items():
        seed("config", f"{key}-{name}.json", gpt2 | {key: value})
seed("config", "many-layers.json", gpt2 | {"n_layer": 10**9})
seed("config", "deep.json", "[" * 100_000)
seed("config", "layer-types.json", {"model_type": "gemma3_text", "layer_types": ["full_attention"] * 3, "num_hidden_layers": 2**40})


# Prompts and token ids: values of every kind, numbers out of range, rows that do not end.
seed("prompts_json", "objects.json", [{"text": "a"}, {"text": "b, c", "more": [1, {"x": None}]}])
seed("prompts_json", "texts.json", ["a", "é\n", ""])
seed("prompts_json", "values.json", '{"text": "a"} "b"\n[{"text": [{"role": "user", "content": "c"}]}]')
seed("prompts_json", "mixed.json", [1, 2.5, -3, "a", [1], {}, True, None])
seed("prompts_json", "deep.json", '{"text": ' + "[" * 100_000)
seed("prompts_json", "objects-without-end.json", '[{"text": "a", "more": [' + '{"":0},' * 1000)
seed("prompts_json", "surrogate.json", '["\\ud800"]')
seed("prompts_csv", "plain.csv", 'id,text\n1,a\n2,"b, ""c"""\n')
seed("prompts_csv", "tabs.csv", "text\tid\na\t1\n")
seed("prompts_csv", "open-quote.csv", 'text\n"a\nb\n')
seed("prompts_csv", "ragged.csv", "a,text\n1\n1,2,3\n")
seed("prompts_csv", "no-utf8.csv", b"text\n\xff\n")
seed("prompts_csv", "commas.csv", "text\n" + "," * 10_000)
seed("prompts_csv", "table.tsv.gz", gzip.compress(b"text\tid\na\t1\n", mtime=0))
seed("prompts_csv", "bomb.tsv.gz", gzip.compress(b"text\n" + bytes(1 << 24), mtime=0))
seed("prompt_ids", "lines.txt", '1,2,3\n[4, 5]\n{"ids": [6]}\n\n')
seed("prompt_ids", "values.json", [[1, 2], {"input_ids": [[3], [4, 5]]}, {"ids": []}])
seed("prompt_ids", "range.txt", "[4294967295]\n[4294967296]\n")
seed("prompt_ids", "kinds.txt", '[1, -2]\n[0.5]\n["1"]\n{"ids": null}\n1,,2\n')
seed("prompt_ids", "deep.txt", '{"ids": ' + "[" * 100_000)


# Safetensors: headers that lie about lengths and places.
def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


headers = {
    "empty": b"",
    "short": b"\x08",
    "length-huge": safetensors({}, length=2**64 - 1),
    "length-100-mb": safetensors({}, length=100_000_000),
    "no-json": safetensors(b"no json"),
    "deep": safetensors(b"[" * 10_000),
    "shape-overflow": safetensors({"states": tensor("F32", [2**32, 2**32, 2**32], 0, 0)}),
    "shape-empty": safetensors({"states": tensor("F32", [0, 2**62], 0, 0)}),
    "many-empty-rows": safetensors({"states": tensor("F32", [2**50, 0], 0, 0)}),
    "offsets-reversed": safetensors({"states": tensor("F32", [1], 4, 0)}, bytes(4)),
    "offsets-beyond": safetensors({"states": tensor("F32", [1], 2**63, 2**63 + 4)}),
    "overlap": safetensors({"a": tensor("F32", [1], 0, 4), "b": tensor("F32", [1], 2, 6)}, bytes(6)),
    "dtype-unknown": safetensors({"states": tensor("F3", [1], 0, 4)}, bytes(4)),
    "metadata-number": safetensors({"__metadata__": {"taps": 3}, "states": tensor("F32", [1, 1], 0, 4)}, bytes(4)),
    "not-a-number": safetensors({"states": tensor("F32", [1, 1], 0, 4)}, struct.pack("<f", float("nan"))),
    "tokens-beyond": safetensors({"states": tensor("F32", [1, 1], 0, 4), "token_ids": tensor("I64", [1], 4, 12)}, bytes(4) + b"\xff" * 8),
    "duplicate": safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
}
for name, content in headers.items():
    for target in ["safetensors_header", "safetensors_weights", "foreign_safetensors", "lens"]:
        seed(target, f"{name}.safetensors", content)

# The index of shards: names that lead out.
for name, shard in {"up": "../x.safetensors", "absolute": "/etc/passwd", "windows": "C:\\x", "backslash": "..\\x", "dot": ".", "empty": "",
                    "zero": "a\0b", "inside-up": "a/../../x", "plain": "a/b.safetensors"}.items():
    seed("shard_index", f"{name}.json", {"weight_map": {"a": shard}})
seed("shard_index", "number.json", {"weight_map": {"a": 3}})

# Tokenizers that ask for much.
words = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
         "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
         "model": {"type": "WordLevel", "vocab": {"?": 0, "ab": 1, "ba": 2}, "unk_token": "?"}}
bpe = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
       "byte_fallback": False, "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3}, "merges": ["a b"]}
unigram = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["ab", -2.0]], "byte_fallback": False}
wordpiece = {"type": "WordPiece", "unk_token": "?", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
             "vocab": {"?": 0, "a": 1, "##b": 2}}
special = {"id": "ab", "ids": [1], "tokens": ["ab"]}
pieces = [{"SpecialToken": {"id": "ab", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
split = {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}| ?\\p{L}+"}, "behavior": "Isolated", "invert": False}
doubled = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
tokenizers = {
    "words": {},
    "bpe": {"model": bpe, "pre_tokenizer": byte_level, "decoder": byte_level},
    "unigram": {"model": unigram, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}},
    "wordpiece": {"model": wordpiece, "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                  "strip_accents": None, "lowercase": True}, "pre_tokenizer": {"type": "BertPreTokenizer"}},
    "padding": {"padding": {"strategy": {"Fixed": 2**40}, "direction": "Left", "pad_to_multiple_of": 2**40, "pad_id": 0, "pad_type_id": 0, "pad_token": "?"}},
    "truncation": {"truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 2**40, "direction": "Right"}},
    "template": {"post_processor": {"type": "TemplateProcessing", "single": pieces, "pair": pieces, "special_tokens": {"ab": special}}},
    "split": {"pre_tokenizer": split},
    "counts": {"pre_tokenizer": split | {"pattern": {"Regex": "((a(?=b)){1000}){1000}"}}},
    "backtracking": {"pre_tokenizer": split | {"pattern": {"Regex": "(a*)*(?=c)"}}},
    "doubling": {"normalizer": {"type": "Sequence", "normalizers": [doubled] * 40}},
    "charsmap": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/P///wAAAAA="}},
    "long-prefix": {"model": bpe | {"continuing_subword_prefix": "longer than any part"}},
    "negative-id": {"model": words["model"] | {"vocab": {"?": -1}}},
    "huge-id": {"model": words["model"] | {"vocab": {"?": 2**32 - 1}}},
}
for name, change in tokenizers.items():
    seed("tokenizer", f"{name}.json", words | change)
seed("tokenizer", "deep.json", '{"normalizer":' * 10_000)


# .npy: headers that lie.
def npy(dictionary, data=b"", version=(1, 0), length=None):
    text = dictionary.encode()
    size = len(text) if length is None else length
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version[0] == 1 else "<I", size) + text + data


good = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }"
arrays = {
    "good": npy(good, bytes(8)),
    "length-huge": npy(good, version=(2, 0), length=2**32 - 1),
    "shape-overflow": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296), }"),
    "shape-empty": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1125899906842624, 0), }"),
    "object": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 1), }", bytes(8)),
    "nested": npy("{'descr': " + "[" * 10_000, version=(2, 0)),
    "unclosed": npy("{'descr': '<f4"),
    "version": npy(good, bytes(8), version=(9, 0)),
}
for name, content in arrays.items():
    seed("foreign_npy", f"{name}.npy", content)


# Archives of them: one bad member each, members of one name, a member that unpacks to far more than its size.
def npz(*members):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return archive.getvalue()


for name, content in arrays.items():
    seed("foreign_npz", f"{name}.npz", npz(("states.npy", content)))
seed("foreign_npz", "no-members.npz", npz())
seed("foreign_npz", "upwards.npz", npz(("../states.npy", npy(good, bytes(4)))))
seed("foreign_npz", "two-of-a-name.npz", npz(("states.npy", npy(good, bytes(4))), ("states.npy", npy(good, bytes(4)))))
seed("foreign_npz", "bomb.npz", npz(("states.npy", bytes(64 << 20))))
seed("foreign_npz", "marks.npz", b"PK\x03\x04" + b"\xff" * 26 + b"PK\x05\x06" + b"\xff" * 18)

# Prompts.
lines = {"plain": "The cat\n\nsat\r\n", "no-utf8": b"a\n\xff\n", "marks": "\ufeff\ufeffa\n", "zero": b"\0\0\n\0", "long": "x" * 70_000}
for name, content in lines.items():
    seed("prompts_text", f"{name}.txt", content)
objects = {"plain": '{"text": "a"}\n{"id": 1, "text": "b\\n"}\n', "half": '{"text": "a', "surrogate": '{"text": "\\ud800"}\n', "array": '["a"]\n',
           "deep": '{"text": ' + "[" * 10_000, "twice": '{"text": "a", "text": "b"}\n', "null": '{"text": null}\n'}
for name, content in objects.items():
    seed("prompts_jsonl", f"{name}.jsonl", content)

# Parquet: footers that lie. Whole files are among the fixtures.
for name, content in {"empty": b"", "marks": b"PAR1PAR1", "footer-huge": b"PAR1" + struct.pack("<I", 2**32 - 1) + b"PAR1",
                      "footer-list-huge": b"PAR1\x15\x02\x19\xfc\xff\xff\xff\xff\x0f" + struct.pack("<I", 9) + b"PAR1",
                      "encrypted": b"PARE" + bytes(8) + b"PARE"}.items():
    seed("prompts_parquet", f"{name}.parquet", content)

# Journals.
for target, header in {"json_lines": '"a study"', "journal": '{"study":"lengths","count":3}'}.items():
    for name, content in {"empty": "", "no-end": header, "header": header + "\n", "other": '{"study":"corpus"}\n', "diary": "Dear diary\n",
                          "no-sum": header + '\n{"unit":1,"result":0.1}\n', "wrong-sum": header + '\n{"unit":1,"result":0.1,"xxh3":"0000000000000000"}\n',
                          "deep": header + "\n" + '{"unit":' * 10_000 + "\n", "half": header + '\n{"unit":1,"res'}.items():
        seed(target, f"{name}.jsonl", content)

# Pickles of PyTorch, of weights and of states.
pickles = {
    "plain-pickle": pickle.dumps({"a": [1, 2, 3]}),
    "calls": b"cos\nsystem\n(S'true'\ntR.",
    "memo": b"\x80\x02]q\x00h\x00h\x00h\x00e.",
    "long-text": b"\x80\x04X\xff\xff\xff\xffa.",
    "long-list": b"\x80\x02(" + b"N" * 10_000 + b"t.",
    "deep": b"\x80\x02" + b"]" * 10_000 + b"a" * 9_999 + b".",
}
for name, content in pickles.items():
    seed("pytorch_weights", f"{name}.bin", content)
    seed("foreign_torch", f"{name}.pt", content)
seed("foreign_torch", "archive.pt", npz(("archive/data.pkl", pickles["calls"]), ("archive/version", b"3")))


# GGUF: counts and lengths that lie. An entry is a key, a type and a value; type 8 is a text, 9 a list, 4 a number.
def gguf(tensors=0, entries=(), count=None, rest=b"", version=3):
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, len(entries) if count is None else count)
    return head + b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in entries) + rest


def text(value, length=None):
    return struct.pack("<Q", len(value) if length is None else length) + value.encode()


architecture = ("general.architecture", 8, text("llama"))
seed("gguf", "empty.gguf", gguf())
seed("gguf", "version.gguf", gguf(version=99))
seed("gguf", "architecture.gguf", gguf(entries=[architecture]))
seed("gguf", "entries-huge.gguf", gguf(count=2**64 - 1))
seed("gguf", "tensors-huge.gguf", gguf(tensors=2**63, entries=[architecture]))
seed("gguf", "text-huge.gguf", gguf(entries=[("general.name", 8, struct.pack("<Q", 2**63))]))
seed("gguf", "list-huge.gguf", gguf(entries=[("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2**40))]))
nested = b"".join(struct.pack("<IQ", 9, 1) for _ in range(10_000))
seed("gguf", "nested.gguf", gguf(entries=[("a", 9, nested)]))
seed("gguf", "sizes-huge.gguf", gguf(entries=[architecture, ("llama.block_count", 4, struct.pack("<I", 2**32 - 1)),
                                               ("llama.embedding_length", 4, struct.pack("<I", 2**32 - 1))]))
tensor_info = text("token_embd.weight") + struct.pack("<IQQIQ", 2, 2**40, 2**40, 0, 0)
seed("gguf", "tensor-overflow.gguf", gguf(tensors=1, entries=[architecture], rest=tensor_info))


# The Hub. The first answers are the metadata of config.json for the branch and for its commit, then its content.
def answer(status, *headers, body=b""):
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body


def play(*answers):
    return b"\n--next--\n".join(answers)


COMMIT = "x-repo-commit: " + "1" * 40
ETAG = 'etag: "9e26dfeeb6e641a33dae4961196235bdb965b21b"'  # The git hash of `{}`.
head = answer("200 OK", COMMIT, ETAG, "content-length: 2")
body = answer("200 OK", "content-length: 2", body=b"{}")
plays = {
    "honest": play(head, body, answer("404 Not Found")),
    "etag-absolute": play(answer("200 OK", COMMIT, 'etag: "/any/path"', "content-length: 2"), body),
    "etag-upwards": play(answer("200 OK", COMMIT, 'etag: "../../../x"', "content-length: 2"), body),
    "commit-upwards": play(answer("200 OK", "x-repo-commit: ../../x", ETAG, "content-length: 2"), body),
    "no-location": play(answer("302 Found")),
    "to-itself": play(*[answer("302 Found", "location: /owner/tiny/resolve/main/config.json")] * 12),
    "elsewhere": play(answer("302 Found", "location: http://127.0.0.1:1/x")),
    "length-huge": play(answer("200 OK", COMMIT, ETAG, "content-length: 99999999999999999999999"), body),
    "length-negative": play(answer("200 OK", COMMIT, ETAG, "content-length: -1"), body),
    "too-long": play(head, answer("200 OK", body=b"x" * 10_000)),
    "too-short": play(head, answer("200 OK", "content-length: 2", body=b"{")),
    "gzip": play(head, answer("200 OK", "content-encoding: gzip", body=b"\x1f\x8b")),
    "range": play(head, answer("206 Partial Content", "content-range: bytes 1-1/2", "content-length: 1", body=b"}")),
    "flood": play(answer("200 OK", *[f"x-{i}: y" for i in range(2_000)])),
    "garbage": b"\0\xff" * 500,
}
for name, content in plays.items():
    seed("hub_answers", f"{name}.http", content)
