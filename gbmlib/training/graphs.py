"""Training steps replayed on a graphics card: a step is captured once, as a CUDA graph, and then launched as a whole.

A step of a small network is thousands of short kernels. On an H100 with a slow host, launching those of Adeniji and
Liu's network took 71 ms a step, computing them 11, and replaying them 12.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

#: From images and target to logits and the terms of the loss; changes weights.
Step = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]

#: Steps that are launched kernel by kernel first: what is made once, such as the optimiser's state, must be there.
WARM_UP = 3


class Replayed:
    """A training step that is captured at the fourth batch and replayed from then on.

    Steps on the same batches, in the same arithmetic. The learning rate becomes a tensor, which a replay reads; a batch
    of another shape than the first is stepped as usual, and so are all where the capture fails.

    Args:
        step: what to replay; it must read nothing back from the device.
        optimiser: that of the step.
        record: from work to what replays it (:func:`cuda_graph`); for tests.
    """

    def __init__(
        self,
        step: Step,
        optimiser: torch.optim.Optimizer,
        device: torch.device,
        record: Callable[[Callable[[], None]], Callable[[], None]] | None = None,
    ):
        self._step, self._optimiser, self._record = step, optimiser, record or cuda_graph
        self._waiting, self._replay = WARM_UP, None
        for group in optimiser.param_groups:
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=device)
            group["capturable"] = device.type == "cuda"

    def __call__(self, images: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """A step; the returned logits are overwritten by the next one."""
        if self._waiting:
            self._waiting -= 1
            return self._step(images, target)
        if self._replay is None and self._record is not None:
            self._capture(images, target)
        if self._replay is None or images.shape != self._images.shape:
            return self._step(images, target)
        self._images.copy_(images)
        self._target.copy_(target)
        self._replay()
        logits, terms = self._outputs
        return logits, {name: term.clone() for name, term in terms.items()}

    def _capture(self, images: Tensor, target: Tensor) -> None:
        self._images, self._target = images.clone(), target.clone()
        self._optimiser.zero_grad(set_to_none=True)
        try:
            self._replay = self._record(self._work)
        except RuntimeError as error:
            tqdm.write(f"training goes on without a CUDA graph, slower: {str(error).splitlines()[0]}")
            self._record = None

    def _work(self) -> None:
        self._outputs = self._step(self._images, self._target)


def cuda_graph(work: Callable[[], None]) -> Callable[[], None]:
    """Capture work on the current graphics card, without doing it, and return what does it."""
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
