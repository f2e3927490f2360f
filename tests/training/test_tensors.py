"""Nested tensors in a file without code."""

import pytest
import torch

from gbmlib.training import tensors


def test_there_and_back(tmp_path):
    tree = {
        "numbers": [1, 2.5, None, "text", True, 0.1 + 0.2],
        "state": {0: {"step": torch.tensor(3.0), "mean": torch.randn(2, 3)}, 1: {}},
        "bytes": torch.arange(5, dtype=torch.uint8),
        "groups": [{"params": [0, 1]}],
    }
    tensors.save(tmp_path / "a.safetensors", tree)
    back = tensors.load(tmp_path / "a.safetensors")
    assert back["numbers"] == tree["numbers"]
    assert list(back["state"]) == [0, 1]
    assert torch.equal(back["state"][0]["mean"], tree["state"][0]["mean"])
    assert torch.equal(back["bytes"], tree["bytes"])
    assert back["groups"] == tree["groups"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors.save(path, {"a": torch.ones(1)})
    with pytest.raises(TypeError):
        tensors.save(path, {"a": object()})
    assert torch.equal(tensors.load(path)["a"], torch.ones(1))


def test_nothing_in_the_file_is_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    with pytest.raises(TypeError):
        tensors.save(tmp_path / "a.safetensors", {"a": Evil()})
    tensors.save(tmp_path / "b.safetensors", {"a": torch.ones(1)})
    assert b"pickle" not in (tmp_path / "b.safetensors").read_bytes()
