"""Measures how near the states of different tokens lie after one prefix, for the table in ../numerics.md, section 6.

    python token_margins.py MODEL_FOLDER

Every token of the vocabulary (40,000 of a larger one) is computed in f32 by transformers after three prefixes: none, and two of a few
tokens. The distances of 150 tokens' states from all others are taken, as shares of their norms. Tokens with an embedding within a quarter
of another's length from theirs are left out. Columns:

- `least`, `median`: the distance of the nearest other token, over the 150;
- `power`, least and median: the exponent `k` for which the number of tokens grows as the k-th power of the distance, from the nearest token
  to the 3,000th;
- `neighbours`: the share of the 150 whose nearest token is among the 64 with the nearest embeddings;
- `played, without` and `with`: how often the rule for samples of section 6 verifies a wrong token and the right one, without neighbours and
  in 12 dimensions, and as it is. Floors are 1.02 to 10 times the distance of the nearest token, and 16 to 16,384 random tokens are tested.
  A token that fits has been found. It may be the right one or another, with equal chance.
"""

import copy
import sys

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TOKENS = 150
MOST = 40_000
FARTHER = 3_000
BATCH = 512
PREFIXES = [None, "The old man walked to the harbour and", "for i in range(10): x +="]


def distances(states, chosen):
    """Distances of the chosen rows from all, in f64, with those from themselves first."""
    states = states.astype(np.float64)
    squares = (states**2).sum(1)
    products = states[chosen] @ states.T
    apart = np.sqrt(np.maximum(squares[chosen][:, None] + squares[None] - 2 * products, 0))
    apart[np.arange(len(chosen)), chosen] = -1
    return apart, np.sqrt(squares[chosen])


def play(apart, near, is_sink, improved):
    """Wrong and right verdicts by a sample."""
    random, size = np.random.default_rng(7), apart.shape[1]
    power = 4 if improved and is_sink else 12
    wrong = right = 0.0
    for distance, neighbours in zip(np.maximum(apart, 0), near):
        own, nearest = np.argpartition(distance, 1)[:2]
        for floor in np.array([1.02, 1.2, 1.5, 2, 3, 5, 10]) * distance[nearest]:
            fitting = np.flatnonzero(distance <= floor)
            if len(fitting) > 16:
                continue
            for count in (16, 64, 256, 1024, 4096, 16384):
                found = random.choice(fitting)
                tested = random.choice(size, count, replace=False)
                if improved:
                    # Two tokens are neighbours of each other or of neither.
                    beside = [found] if found != own else np.intersect1d(neighbours, fitting)
                    if np.isin(beside, neighbours).any():
                        continue
                    tested = np.union1d(tested, neighbours)
                tested = tested[~np.isin(tested, fitting)]
                expected = (size - len(tested)) / len(tested) * (floor / distance[tested].min()) ** power
                if expected <= 1e-4:
                    # None of the others that fit was tested.
                    alone = (1 - count / size) ** (len(fitting) - 1)
                    wrong, right = wrong + alone * (found != own), right + alone * (found == own)
    return f"{wrong:.0f} and {right:.0f}"


def main():
    folder = sys.argv[1]
    torch.set_grad_enabled(False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    size, layers = model.config.vocab_size, model.config.num_hidden_layers
    vocabulary = np.sort(np.random.default_rng(0).permutation(size)[:MOST]) if size > 60_000 else np.arange(size)
    chosen = np.random.default_rng(1).choice(len(vocabulary), TOKENS, replace=False)
    taps, grabbed = [1, layers // 4, layers // 2, 3 * layers // 4, layers - 1, layers], {}
    for tap in taps:

        def grab(module, given, out, name=f"block-{tap}"):
            grabbed[name] = (out[0] if isinstance(out, tuple) else out)[:, -1].clone()

        model.layers[tap - 1].register_forward_hook(grab)
    model.norm.register_forward_hook(lambda module, given, out: grabbed.__setitem__("final-norm", out[:, -1].clone()))

    apart, lengths = distances(model.embed_tokens.weight[torch.tensor(vocabulary)].numpy(), chosen)
    order = np.argsort(apart, axis=1)[:, 1:65]
    trained = apart[np.arange(TOKENS), order[:, 0]] > lengths / 4
    print(f"{TOKENS - trained.sum()} of {TOKENS} tokens left out")
    print("| prefix | tap | least | median | power, least | median | neighbours | played, without | with |")
    print("|---" * 9 + "|")
    for prefix in PREFIXES:
        ids = tokenizer(prefix).input_ids if prefix else []
        cache = model(torch.tensor([ids]), use_cache=True).past_key_values if ids else None
        found = {}
        for begin in range(0, len(vocabulary), BATCH):
            batch = torch.tensor(vocabulary[begin : begin + BATCH])[:, None]
            held = copy.deepcopy(cache)
            if held is not None:
                held.batch_repeat_interleave(len(batch))
            model(batch, past_key_values=held, use_cache=held is not None)
            for name, states in grabbed.items():
                found.setdefault(name, []).append(states.numpy())
        for name in sorted(found, key=lambda name: int(name[6:]) if name.startswith("block") else layers + 1):
            apart, norms = distances(np.concatenate(found[name]), chosen)
            apart, norms, near = apart[trained], norms[trained], order[trained]
            nearest = np.argsort(apart, axis=1)[:, 1]
            ranked = np.sort(apart, axis=1)[:, 1:]
            power = np.log(FARTHER) / np.log(ranked[:, FARTHER - 1] / ranked[:, 0])
            share = ranked[:, 0] / norms
            known = np.mean([token in row for token, row in zip(nearest, near)])
            is_sink = not ids
            played = [play(apart, near, is_sink, improved) for improved in (False, True)]
            row = [f"{share.min():.4f}", f"{np.median(share):.4f}", f"{power.min():.1f}", f"{np.median(power):.1f}", f"{known:.2f}"]
            print(f"| {len(ids)} tokens | {name} | " + " | ".join(row + played) + " |", flush=True)


main()
