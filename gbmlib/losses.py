"""Losses on logits (batch, channel, z, y, x) against boolean or float targets of the same shape."""

from __future__ import annotations

import torch
from torch import Tensor


def soft_dice(probabilities: Tensor, target: Tensor, eps: float = 1.0) -> Tensor:
    """Dice of probabilities with squared denominators, for each sample and channel: shape (batch, channel).

    (2 sum p t + eps) / (sum p^2 + sum t^2 + eps): V-Net (Milletari et al. 2016, section 3) and equation 3 of Adeniji
    and Liu (2019), where eps is 1. Computed in float32 whatever the input: a sum over a volume overflows the precision
    of bfloat16.
    """
    p, t = probabilities.float().flatten(2), target.float().flatten(2)
    return (2 * (p * t).sum(-1) + eps) / (p.square().sum(-1) + t.square().sum(-1) + eps)


def dice_loss(logits: Tensor, target: Tensor, eps: float = 1.0) -> Tensor:
    """Sum over the channels of 1 - soft Dice of the sigmoid, mean over the batch (Adeniji and Liu, section 3.4.1).

    The paper prints the Dice itself as the loss (equation 3); what falls as the overlap grows is its complement, which
    is also what its code minimises. With three channels the loss starts near 3 and a perfect network reaches 0.
    """
    return (1 - soft_dice(torch.sigmoid(logits), target, eps)).sum(1).mean()


LOSSES = {"dice": dice_loss}
