"""Writes a GGUF file of random weights at the shape of Llama-3.1-8B, in the mix of formats that llama.cpp calls Q4_K_M.

    python benches/peers/random_gguf.py FILE [LAYERS]

The formats: Q4_K, but Q6_K for the head and, in every second layer, for the values and for the way down. Needs `numpy` and `gguf`.
"""

import sys

import numpy as np
from gguf import GGMLQuantizationType as Format
from gguf import GGUFWriter

D_MODEL, D_FF, KV, VOCABULARY = 4096, 14336, 1024, 128256
BLOCK = {Format.Q4_K: 144, Format.Q6_K: 210}


def random_blocks(generator: np.random.Generator, rows: int, width: int, format: Format) -> np.ndarray:
    """Blocks of random codes, whose scales make weights of about 0.02."""
    blocks = generator.integers(0, 256, (rows * width // 256, BLOCK[format]), dtype=np.uint8)
    scales = {Format.Q4_K: (0, [4e-5, 3e-4]), Format.Q6_K: (208, [1.5e-5])}[format]
    begin, values = scales
    blocks[:, begin : begin + 2 * len(values)] = np.frombuffer(np.array(values, dtype=np.float16).tobytes(), dtype=np.uint8)
    return blocks.reshape(rows, -1)


def main(path: str, layers: int) -> None:
    generator = np.random.default_rng(0)
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(131072)
    writer.add_embedding_length(D_MODEL)
    writer.add_feed_forward_length(D_FF)
    writer.add_head_count(32)
    writer.add_head_count_kv(8)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500000.0)
    writer.add_rope_dimension_count(128)
    writer.add_vocab_size(VOCABULARY)

    matrices = [("token_embd", VOCABULARY, D_MODEL, Format.Q4_K), ("output", VOCABULARY, D_MODEL, Format.Q6_K)]
    vectors = ["output_norm"]
    for layer in range(layers):
        precise = Format.Q6_K if layer % 2 == 0 else Format.Q4_K
        block = f"blk.{layer}"
        matrices += [
            (f"{block}.attn_q", D_MODEL, D_MODEL, Format.Q4_K),
            (f"{block}.attn_k", KV, D_MODEL, Format.Q4_K),
            (f"{block}.attn_v", KV, D_MODEL, precise),
            (f"{block}.attn_output", D_MODEL, D_MODEL, Format.Q4_K),
            (f"{block}.ffn_gate", D_FF, D_MODEL, Format.Q4_K),
            (f"{block}.ffn_up", D_FF, D_MODEL, Format.Q4_K),
            (f"{block}.ffn_down", D_MODEL, D_FF, precise),
        ]
        vectors += [f"{block}.attn_norm", f"{block}.ffn_norm"]
    for name in vectors:
        writer.add_tensor(f"{name}.weight", np.ones(D_MODEL, dtype=np.float32))
    for name, rows, width, format in matrices:
        shape = (rows, width // 256 * BLOCK[format])
        writer.add_tensor_info(f"{name}.weight", shape, np.dtype(np.uint8), rows * shape[1], raw_dtype=format)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name in vectors:
        writer.write_tensor_data(np.ones(D_MODEL, dtype=np.float32))
    for _, rows, width, format in matrices:
        writer.write_tensor_data(random_blocks(generator, rows, width, format))
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 32)
