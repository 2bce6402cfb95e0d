"""Writes the seeds that stand for a kind of file or of attack: python3 seeds.py.

The seeds of stores, lenses, calibrations, journals and results are written by the ignored tests `hostile_files::write_seeds` of their crates."""

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




# A file after the byte that chooses which file of several it stands for.
def chosen(target, choice, name, content):
    if not isinstance(content, (bytes, str)):
        content = json.dumps(content)
    seed(target, name, bytes([choice]) + (content.encode() if isinstance(content, str) else content))


# Byte-level BPE in two files: 0 is vocab.json, 1 is merges.txt.
vocabularies = {"empty": {}, "list": [1], "text": {"a": "b"}, "negative": {"a": -1}, "huge": {"a": 2**32 - 1}, "beyond": {"a": 2**32},
                "twice": '{"a": 1, "a": 2}', "same-id": {"a": 1, "b": 1}, "deep": "[" * 10_000}
for name, content in vocabularies.items():
    chosen("byte_level", 0, f"vocab-{name}.json", content)
merges = {"empty": "", "version": "#version: 0.2\n", "three": "a b c\n", "one": "a\n", "unknown": "zz yy\n", "spaces": "  \n \n",
          "no-utf8": b"\xff \xfe\n", "twice": "h e\nh e\n", "no-end": "h e", "return": "h e\r\n"}
for name, content in merges.items():
    chosen("byte_level", 1, f"merges-{name}.txt", content)

# The files beside a tokenizer: 0 is tokenizer_config.json, 1 added_tokens.json, 2 special_tokens_map.json, 3 config.json. Four more stand
# beside vocab.json, and four more beside tokenizer.model.
token = {"content": "<a>", "lstrip": True, "rstrip": False, "normalized": False, "single_word": True, "special": True}
settings = {
    "decoder": {"added_tokens_decoder": {"3": token, "4294967295": token}},
    "decoder-list": {"added_tokens_decoder": [token]},
    "decoder-negative": {"added_tokens_decoder": {"-1": token}},
    "same-content": {"added_tokens_decoder": {"3": token, "4": token}},
    "empty-content": {"added_tokens_decoder": {"3": token | {"content": ""}}},
    "class": {"tokenizer_class": "LlamaTokenizerFast", "add_prefix_space": False, "legacy": True, "add_bos_token": True, "bos_token": "<s>"},
    "gemma": {"tokenizer_class": "GemmaTokenizer", "unk_token": None, "bos_token": token, "extra_special_tokens": {"image": "<i>"}},
    "mistral": {"fix_mistral_regex": True, "tokenizer_class": 3, "auto_map": {"AutoTokenizer": ["a.B", None]}},
    "versions": {"fast_tokenizer_files": ["tokenizer.4.0.0.json", "../tokenizer.json", "tokenizer..json", 3]},
    "list": [1, 2], "deep": '{"a":' * 10_000, "null": None,
}
for name, content in settings.items():
    for kind in range(3):
        chosen("tokenizer_settings", 4 * kind, f"settings-{name}-{kind}.json", content)
for name, content in {"plain": {"<a>": 98, "<b>": 99}, "huge": {"<a>": 2**32 - 1}, "text": {"<a>": "b"}, "same": {"<a>": 5, "<b>": 5}}.items():
    chosen("tokenizer_settings", 1, f"added-{name}.json", content)
for name, content in {"plain": {"bos_token": "<s>", "additional_special_tokens": ["<x>", token, 3]}, "list": ["<s>"], "number": {"bos_token": 3}}.items():
    chosen("tokenizer_settings", 2, f"special-{name}.json", content)
for name, content in {"qwen": {"model_type": "qwen2"}, "mistral": {"model_type": "mistral", "transformers_version": "4.57.3"}}.items():
    chosen("tokenizer_settings", 3, f"config-{name}.json", content)

# Adapters: 0 is adapter_config.json, 1 adapter_model.safetensors, 2 adapter_model.bin.
lora = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"], "bias": "none"}
adapters = {
    "plain": {}, "rank-zero": {"r": 0}, "rank-huge": {"r": 2**63}, "rank-negative": {"r": -1}, "alpha-huge": {"lora_alpha": 1e308},
    "expression": {"target_modules": ".*\\.(q|down)_proj$"}, "expression-counts": {"target_modules": "x(?:a{900}){100}"},
    "patterns": {"rank_pattern": {"^model.layers.0.*q_proj": 2}, "alpha_pattern": {"x1(?:a{900}){100}": 3}},
    "patterns-many": {"alpha_pattern": {f"x{i}\\w{{80}}": 1 for i in range(300)}},
    "layers": {"layers_to_transform": [0, 2**40], "layers_pattern": "layers"}, "saved": {"modules_to_save": ["lm_head", "\\w{80}"]},
    "excluded": {"exclude_modules": "(a*)*b"}, "dora": {"use_dora": True}, "rslora": {"use_rslora": True}, "other": {"peft_type": "IA3"},
}
for name, change in adapters.items():
    chosen("adapter", 0, f"settings-{name}.json", lora | change)
chosen("adapter", 0, "settings-deep.json", '{"a":' * 10_000)
for name, content in headers.items():
    chosen("adapter", 1, f"weights-{name}.safetensors", content)

# Quantised models: an even number is the config of one, the next number its weights.
model = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 1,
         "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "vocab_size": 97, "tie_word_embeddings": True}
fp8 = {"quant_method": "fp8", "weight_block_size": [8, 8]}
methods = {
    "blocks-zero": fp8 | {"weight_block_size": [0, 0]}, "blocks-huge": fp8 | {"weight_block_size": [2**63, 2**63]},
    "blocks-text": fp8 | {"weight_block_size": "8x8"}, "unknown": {"quant_method": "x"}, "null": None, "list": [1],
    "groups": {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 2**40, "type": "float", "block_structure": [15, 20]}}}},
    "four-bits": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True, "bnb_4bit_quant_storage": "bfloat16"},
    "eight-bits": {"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_skip_modules": ["lm_head"]},
}
for name, method in methods.items():
    for choice in [0, 6, 12]:
        chosen("quantised", choice, f"config-{name}-{choice}.json", model | {"quantization_config": method})
for name, content in headers.items():
    chosen("quantised", 1, f"weights-{name}.safetensors", content)

# Chat templates: 0 is a template, 1 a tokenizer_config.json with one, 2 a tokenizer_config.json beside one.
chatml = ("{%- for message in messages %}\n    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'].strip() + '<|im_end|>\\n' }}\n"
          "{%- endfor %}\n{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
templates = {
    "chatml": chatml, "bos": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", "no-user": "nothing",
    "json": "{{ messages | tojson(indent=2) }}{{ messages[-1]['content'] }}", "date": "{{ strftime_now('%d') }}", "refuses": "{{ raise_exception('no') }}",
    "generation": "{% generation %}a{%- endgeneration -%}{{ messages[0].content }}", "open": "{% for a in messages %}{{ a", "filter": "{{ 'a' | indent(3) | upper | replace('A', 'b') }}",
    "set": "{% set ns = namespace(n=0) %}{% for m in messages if m.role == 'user' %}{% set ns.n = ns.n + loop.index0 %}{% endfor %}{{ ns.n }}{{ messages[0].content }}",
    "macro": "{% macro f(x, y=2) %}{{ x * y }}{% endmacro %}{{ f('ab') }}{{ f(3) }}{{ messages[0].content[::-1] }}{{ messages[0].content.split('u') | length }}",
    "slice": "{{ messages[0].content[1:3] }}{{ range(3) | list }}{{ {'a': 1}.items() | list }}{% if messages is defined and 'a' in 'abc' %}x{% endif %}",
    "deep": "{{ " + "(" * 500 + "1", "recursion": "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "power": "{{ 9 ** 9 ** 9 }}{{ 1 // 0 }}",
}
for name, content in templates.items():
    chosen("chat_template", 0, f"{name}.jinja", content)
for name, content in {"plain": {"chat_template": chatml, "bos_token": "<s>"}, "named": {"chat_template": [{"name": "default", "template": chatml}]},
                      "others": {"chat_template": {"rag": "x"}}, "none": {}, "null": {"chat_template": None}, "list": []}.items():
    chosen("chat_template", 1, f"settings-{name}.json", content)
for name, content in {"plain": {"bos_token": {"content": "<a>"}, "eos_token": "<b>"}, "list": [], "number": {"bos_token": 3}}.items():
    chosen("chat_template", 2, f"beside-{name}.json", content)

# The sidecar of vLLM-Hook.
sidecar = {"config": {}, "batch_size": 2, "hs_mode": "all_tokens", "seq_lens": [8, 5]}
for name, change in {"plain": {}, "last": {"hs_mode": "last_token"}, "huge": {"seq_lens": [2**64 - 1, 2**64 - 1]}, "negative": {"seq_lens": [-1]},
                     "empty": {"seq_lens": []}, "zeros": {"seq_lens": [0, 0]}, "many": {"seq_lens": [1] * 10_000}, "text": {"seq_lens": "8"},
                     "mode": {"hs_mode": 3}, "null": {"seq_lens": None, "hs_mode": None}, "longer": {"seq_lens": [9, 9]}}.items():
    seed("vllm_sidecar", f"{name}.json", sidecar | change)
for name, content in {"deep": "[" * 10_000, "list": "[]", "half": '{"seq_lens": [8', "nothing": ""}.items():
    seed("vllm_sidecar", f"{name}.json", content)

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
            # With the same time whenever it is written.
            packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return archive.getvalue()


# Compressed files: 0, 1 and 2 are .npy.gz, .npz.gz and .pt.gz; three more are compressed by the reader.
def packed(content):
    return gzip.compress(content, mtime=0)


whole = packed(npy(good, bytes(8)))
files = {"whole": whole, "half": whole[:20], "two": whole + whole, "more": whole + b"x", "no-gzip": npy(good, bytes(8)), "empty": b"",
         "announces-much": whole[:-4] + b"\xff" * 4, "announces-little": whole[:-4] + bytes(4), "bomb": packed(bytes(16 << 20)),
         "wrong-sum": whole[:-8] + bytes(4) + whole[-4:]}
for name, content in files.items():
    chosen("foreign_packed", 0, f"{name}.npy.gz", content)
for name, content in arrays.items():
    seed("foreign_npz", f"{name}.npz", npz(("states.npy", content)))
    chosen("foreign_packed", 4, f"{name}.npz", npz(("states.npy", content)))
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
