"""Records of real configurations whose networks were never trained, for tests of what is done with weights."""

import torch

from gbmlib import models
from gbmlib.cohorts import regions
from gbmlib.study.records import Record
from gbmlib.training import tensors


def record_of(experiment, cohort, folder, bias=None):
    """A record with the weights of an untrained network, whose output has a bias if it is given one."""
    channels = len(regions.members(experiment.regions, cohort.labels)) + experiment.softmax
    torch.manual_seed(0)
    network = models.build(experiment.model, 2, channels, experiment.patch_size, **experiment.options)
    if bias is not None:
        network.output.bias.data[:] = torch.tensor(bias)
    folder.mkdir(exist_ok=True)
    tensors.save(folder / "weights.safetensors", network.state_dict())
    record = Record(folder)
    vars(record)["experiment"] = experiment
    return record
