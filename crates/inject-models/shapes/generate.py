"""Writes the config.json of each model that random weights can be drawn for, as transformers writes it.

    python generate.py        # needs transformers

Each text states the settings in which a published model differs from the defaults of its class. The settings are those of
these repositories of the Hugging Face Hub. Of the multimodal Gemma 3 checkpoints it is the text part.
"""

from pathlib import Path

from transformers import GPT2Config, Gemma3TextConfig, GPTNeoConfig, LlamaConfig, MistralConfig, Phi3Config


def rotary(theta, **more):
    return {"rope_type": "default", "rope_theta": theta} | more


def gpt2(width, layers, heads):
    return GPT2Config(
        architectures=["GPT2LMHeadModel"], n_embd=width, n_layer=layers, n_head=heads, bos_token_id=50256, eos_token_id=50256
    )


def gemma3(full, **settings):
    """`full` is the rotary setting of the layers with full attention."""
    return Gemma3TextConfig(
        architectures=["Gemma3ForCausalLM"],
        head_dim=256,
        query_pre_attn_scalar=256,
        rope_parameters={"full_attention": full, "sliding_attention": rotary(10000.0)},
        **settings,
    )


# The factors of Phi-4-mini's LongRoPE for sequences longer than 4096 tokens; those for shorter ones are all 1.
LONG_FACTORS = [
    1, 1.118320672, 1.250641126, 1.398617824, 1.564103225, 1.74916897, 1.956131817, 2.187582649, 2.446418898, 2.735880826,
    3.059592084, 3.421605075, 3.826451687, 4.279200023, 4.785517845, 5.351743533, 5.984965424, 6.693110555, 7.485043894,
    8.370679318, 9.36110372, 10.4687158, 11.70738129, 13.09260651, 14.64173252, 16.37415215, 18.31155283, 20.47818807,
    22.90118105, 25.61086418, 28.64115884, 32.03, 32.1, 32.13, 32.23, 32.6, 32.61, 32.64, 32.66, 32.7, 32.71, 32.93, 32.97,
    33.28, 33.49, 33.5, 44.16, 47.77,
]  # fmt: skip

SHAPES = {
    # openai-community/gpt2, gpt2-medium and gpt2-large.
    "gpt2": gpt2(768, 12, 12),
    "gpt2-medium": gpt2(1024, 24, 16),
    "gpt2-large": gpt2(1280, 36, 20),
    # roneneldan/TinyStories-33M.
    "tinystories-33m": GPTNeoConfig(
        architectures=["GPTNeoForCausalLM"],
        hidden_size=768,
        num_layers=4,
        num_heads=16,
        attention_types=[[["global", "local"], 2]],
        window_size=256,
        max_position_embeddings=2048,
        resid_dropout=0,
        embed_dropout=0,
        attention_dropout=0,
    ),
    # google/gemma-3-270m, gemma-3-1b-pt, gemma-3-4b-pt and gemma-3-12b-pt.
    "gemma-3-270m": gemma3(
        rotary(1000000.0),
        vocab_size=262144,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=18,
        num_attention_heads=4,
        num_key_value_heads=1,
        sliding_window=512,
        max_position_embeddings=32768,
    ),
    "gemma-3-1b": gemma3(
        rotary(1000000.0),
        vocab_size=262144,
        hidden_size=1152,
        intermediate_size=6912,
        num_hidden_layers=26,
        num_attention_heads=4,
        num_key_value_heads=1,
        sliding_window=512,
        max_position_embeddings=32768,
    ),
    "gemma-3-4b": gemma3(
        rotary(1000000.0, rope_type="linear", factor=8.0),
        vocab_size=262208,
        hidden_size=2560,
        intermediate_size=10240,
        num_hidden_layers=34,
        num_attention_heads=8,
        num_key_value_heads=4,
        sliding_window=1024,
        max_position_embeddings=131072,
    ),
    "gemma-3-12b": gemma3(
        rotary(1000000.0, rope_type="linear", factor=8.0),
        vocab_size=262208,
        hidden_size=3840,
        intermediate_size=15360,
        num_hidden_layers=48,
        num_attention_heads=16,
        num_key_value_heads=8,
        sliding_window=1024,
        max_position_embeddings=131072,
    ),
    # microsoft/Phi-4-mini-instruct.
    "phi-4-mini": Phi3Config(
        architectures=["Phi3ForCausalLM"],
        vocab_size=200064,
        hidden_size=3072,
        intermediate_size=8192,
        num_hidden_layers=32,
        num_attention_heads=24,
        num_key_value_heads=8,
        max_position_embeddings=131072,
        original_max_position_embeddings=4096,
        rms_norm_eps=1e-5,
        sliding_window=262144,
        tie_word_embeddings=True,
        bos_token_id=199999,
        eos_token_id=199999,
        pad_token_id=199999,
        rope_parameters=rotary(
            10000.0,
            rope_type="longrope",
            partial_rotary_factor=0.75,
            long_factor=LONG_FACTORS,
            short_factor=[1.0] * 48,
            original_max_position_embeddings=4096,
        ),
    ),
    # mistralai/Mistral-7B-v0.1.
    "mistral-7b": MistralConfig(
        architectures=["MistralForCausalLM"],
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=32768,
        rms_norm_eps=1e-5,
        sliding_window=4096,
        bos_token_id=1,
        eos_token_id=2,
        rope_parameters=rotary(10000.0),
    ),
    # meta-llama/Llama-3.1-8B.
    "llama-3.1-8b": LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        bos_token_id=128000,
        eos_token_id=128001,
        rope_parameters=rotary(
            500000.0,
            rope_type="llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=8192,
        ),
    ),
    # HuggingFaceTB/SmolLM2-135M.
    "smollm2-135m": LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        initializer_range=0.041666666666666664,
        rms_norm_eps=1e-5,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=True,
        rope_parameters=rotary(100000.0),
    ),
}

for name, config in SHAPES.items():
    config.dtype = "bfloat16"
    config.to_json_file(Path(__file__).with_name(f"{name}.json"))
