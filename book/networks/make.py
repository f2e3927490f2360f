"""Copy a run of one's own to this folder, with the weights that segmenting needs, as 16-bit numbers.

``python book/networks/make.py RUN RUNS``: the run's id, and the folder of one's own runs.
"""

import argparse
from pathlib import Path

import torch

from gbmlib.files import NETWORKS
from gbmlib.models import TRAINED_ALONE
from gbmlib.study.records import WEIGHTS, Record, Store
from gbmlib.training import tensors


def publish(record: Record, folder: str | Path = NETWORKS) -> Path:
    """Copy a record to a folder.

    Raises:
        FileNotFoundError: the weights are not on this machine.
    """
    if record.weights is None:
        raise FileNotFoundError(f"the weights of {record.id} are not on this machine; run its experiment to make them")
    weights = {
        name: tensor.half() if tensor.dtype is torch.float32 else tensor
        for name, tensor in tensors.load(record.weights).items()
        if not name.startswith(TRAINED_ALONE)
    }
    path = Store(folder).publish(record, folder).path
    tensors.save(path / WEIGHTS, weights)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("runs", type=Path)
    asked = parser.parse_args()
    print(publish(Store(asked.runs).named(asked.run)))
