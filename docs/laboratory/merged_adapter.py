"""Writes a checkpoint with a merged LoRA adapter of random factors, for the measurement in results/producers.md.

    python merged_adapter.py --model FOLDER --out FOLDER [--share 0.01]

The adapter is peft's, of rank 8 on every linear map. It changes each map by `--share` of its norm. Needs torch, transformers and peft.
"""

import argparse
import pathlib
import shutil

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", required=True, type=pathlib.Path)
parser.add_argument("--out", required=True, type=pathlib.Path)
parser.add_argument("--share", type=float, default=0.01)
args = parser.parse_args()

torch.manual_seed(1)
maps = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
config = LoraConfig(r=8, lora_alpha=16, target_modules=maps, init_lora_weights="gaussian")
model = get_peft_model(AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32), config)
with torch.no_grad():
    for layer in model.modules():
        if "default" in getattr(layer, "lora_B", {}):
            a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight.normal_()
            b *= args.share * layer.base_layer.weight.norm() / (layer.scaling["default"] * (b @ a).norm())
model.merge_and_unload().save_pretrained(args.out)
for name in ("config.json", "tokenizer.json"):
    shutil.copyfile(args.model / name, args.out / name)
