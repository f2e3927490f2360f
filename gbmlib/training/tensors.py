"""Nested tensors and plain values in one safetensors file, which holds data and no code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from gbmlib.files import written

_MARK = "__tensor__"


def save(path: Path, tree: Any) -> None:
    """Write nested dictionaries and lists of tensors, numbers, strings and None; whole or not at all."""
    tensors: dict[str, torch.Tensor] = {}
    plain = _take_out(tree, tensors, "")
    with written(path) as unfinished:
        save_file(tensors, unfinished, metadata={"tree": json.dumps(plain)})


def load(path: Path, device: str | torch.device = "cpu") -> Any:
    """Read what :func:`save` wrote."""
    with safe_open(path, "pt", device=str(device)) as file:
        return _put_back(json.loads(file.metadata()["tree"]), file)


def _take_out(tree: Any, tensors: dict[str, torch.Tensor], name: str) -> Any:
    if isinstance(tree, torch.Tensor):
        tensors[name] = tree.detach().contiguous()
        return {_MARK: name}
    if isinstance(tree, dict):
        # Keys of JSON are text; those of an optimiser's state are numbers.
        return {"items": [[key, _take_out(value, tensors, f"{name}.{key}")] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        return [_take_out(value, tensors, f"{name}.{number}") for number, value in enumerate(tree)]
    return tree


def _put_back(plain: Any, file: Any) -> Any:
    if isinstance(plain, dict):
        if _MARK in plain:
            # Without a copy the tensor stays mapped to a file that the next save replaces.
            return file.get_tensor(plain[_MARK]).clone()
        return {key: _put_back(value, file) for key, value in plain["items"]}
    if isinstance(plain, list):
        return [_put_back(value, file) for value in plain]
    return plain
