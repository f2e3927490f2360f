"""The terms of the loss: overlap and focal loss of the segmentation, the two of the VAE, and the penalty on weights.

Segmentation losses take logits (batch, channel, z, y, x) and boolean or float targets of the same shape, a sigmoid for
each channel; those of :data:`SOFTMAX` take logits with the background as one channel more, the first, and a softmax
over all. Every term is a scalar, computed in float32 whatever the precision of the network, and carries no weight of
its own: equation 2 of Adeniji and Liu (2019) is dice_loss + 0.1 reconstruction_loss + 0.1 kl_loss, and their code adds
1e-5 l2_penalty; Isensee et al. (2018, section 2.3) add Dice and cross entropy.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Voxels of the paper's patch, the N of its equation 5 (Adeniji and Liu, section 3.4.3).
PAPER_VOXELS = 144 * 144 * 128


def soft_dice(probabilities: Tensor, target: Tensor, eps: float = 1.0) -> Tensor:
    """Dice of probabilities with squared denominators, for each sample and channel: shape (batch, channel).

    (2 sum p t + eps) / (sum p^2 + sum t^2 + eps): V-Net (Milletari et al. 2016, section 3) and equation 3 of Adeniji
    and Liu (2019), where eps is 1. Computed in float32 whatever the input: a sum over a volume overflows the precision
    of bfloat16.
    """
    p, t = probabilities.float().flatten(2), target.float().flatten(2)
    return (2 * (p * t).sum(-1) + eps) / (p.square().sum(-1) + t.square().sum(-1) + eps)


def dice_loss(logits: Tensor, target: Tensor, eps: float = 1.0, softmax: bool = False) -> Tensor:
    """Sum over the channels of 1 - soft Dice of the sigmoid, mean over the batch (Adeniji and Liu, section 3.4.1).

    The paper prints the Dice itself as the loss (equation 3); what falls as the overlap grows is its complement, which
    is also what its code minimises. With three channels the loss starts near 3 and a perfect network reaches 0.

    Args:
        softmax: over all classes, the background among them, in place of sigmoids (as :func:`softmax_dice_loss`).
    """
    p = torch.softmax(logits.float(), 1)[:, 1:] if softmax else torch.sigmoid(logits)
    return (1 - soft_dice(p, target, eps)).sum(1).mean()


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """Cross entropy that fades where the network is right: sum over channels, mean over voxels and batch.

    -a (1 - p)^gamma log p, with p the probability given to the truth and a = ``alpha`` where the target is 1, 1 -
    ``alpha`` where it is 0 (Lin et al. 2017, equation 5, in its sigmoid form with their defaults). Adeniji and Liu name
    it as future work. With gamma 0 and alpha 0.5 it is half the binary cross entropy.
    """
    truth = target.float()
    # The margin by which the logit is on the right side. Both logarithms follow from it without a probability that
    # could round to 0 or 1: log p = -softplus(-margin) and log(1 - p) = -softplus(margin).
    margin = (2 * truth - 1) * logits.float()
    fading = torch.exp(-gamma * functional.softplus(margin))
    balance = 1 - alpha + (2 * alpha - 1) * truth
    return (balance * fading * functional.softplus(-margin)).flatten(2).mean((0, 2)).sum()


def dice_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """:func:`dice_loss` + :func:`focal_loss`: the overlap as a whole, and the error of every voxel."""
    return dice_loss(logits, target) + focal_loss(logits, target)


def softmax_dice_loss(logits: Tensor, target: Tensor, batch: bool = False, eps: float = 1e-5) -> Tensor:
    """1 - Dice of the softmax, mean over the foreground's classes (Isensee et al. 2018, section 2.3).

    (2 sum p t + eps) / (sum p + sum t + eps) for each class. The background is left out, as in the public code
    (MIC-DKFZ/nnUNet), whose eps this is; equation 2 does not say so. The paper prints the negative Dice, which differs
    by the constant 1.

    Args:
        logits: (batch, 1 + class, z, y, x), the background first.
        target: bool (batch, class, z, y, x), exclusive.
        batch: sums over all samples, as if the batch were one volume, for networks that see a small part of a case;
            else each sample by itself.
    """
    p, t = torch.softmax(logits.float(), 1)[:, 1:].flatten(2), target.flatten(2)
    over = (0, 2) if batch else (2,)
    return 1 - ((2 * (p * t).sum(over) + eps) / (p.sum(over) + t.sum(over) + eps)).mean()


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of the softmax over all classes, the background among them; mean over voxels and batch.

    Shapes as in :func:`softmax_dice_loss`.
    """
    return functional.cross_entropy(logits.float(), class_numbers(target))


def class_numbers(target: Tensor) -> Tensor:
    """Exclusive channels (batch, class, z, y, x) as numbers (batch, z, y, x): 0 background, then classes from 1 on."""
    number = torch.zeros_like(target[:, 0], dtype=torch.int64)
    for channel in range(target.shape[1]):
        number += (channel + 1) * target[:, channel]
    return number


def dice_ce_loss(logits: Tensor, target: Tensor) -> Tensor:
    """:func:`softmax_dice_loss` of each sample + :func:`cross_entropy` (Isensee et al. 2018, section 2.3)."""
    return softmax_dice_loss(logits, target) + cross_entropy(logits, target)


def dice_ce_batch_loss(logits: Tensor, target: Tensor) -> Tensor:
    """:func:`softmax_dice_loss` of the batch as one volume + :func:`cross_entropy`."""
    return softmax_dice_loss(logits, target, batch=True) + cross_entropy(logits, target)


LOSSES = {
    "dice": dice_loss,
    "dice_focal": dice_focal_loss,
    "dice_ce": dice_ce_loss,
    "dice_ce_batch": dice_ce_batch_loss,
    "softmax_dice": softmax_dice_loss,
    "softmax_dice_squared": partial(dice_loss, softmax=True),
    "cross_entropy": cross_entropy,
}

#: Losses whose channels exclude each other: a softmax over background and classes, in place of sigmoids.
SOFTMAX = ("dice_ce", "dice_ce_batch", "softmax_dice", "softmax_dice_squared", "cross_entropy")


def probabilities(loss: str, logits: Tensor) -> Tensor:
    """Probabilities of logits (batch, channel, z, y, x), float32: softmax or sigmoid, as the named loss has it."""
    return torch.softmax(logits.float(), 1) if loss in SOFTMAX else torch.sigmoid(logits.float())


def logits_of(loss: str, values: Tensor) -> Tensor:
    """Logits of probabilities (batch, channel, z, y, x), which are first kept 1e-6 away from 0 and 1."""
    return values.clamp(1e-6, 1).log() if loss in SOFTMAX else torch.logit(values, eps=1e-6)


def decisions(loss: str, values: Tensor, threshold: float) -> Tensor:
    """The voxels of each class or region, without the background: bool (batch, region, z, y, x).

    With a softmax the largest channel decides, of logits as of probabilities; with sigmoids every channel that reaches
    the threshold.
    """
    if loss not in SOFTMAX:
        return values >= threshold
    classes = torch.arange(1, values.shape[1], device=values.device).view(1, -1, 1, 1, 1)
    return values.argmax(1, keepdim=True) == classes


def reconstruction_loss(reconstruction: Tensor, images: Tensor) -> Tensor:
    """Mean squared difference of two (batch, channel, z, y, x), over voxels, channels and batch.

    Equation 4 of Adeniji and Liu prints the squared norm, which is a sum; their code takes the mean. Only the mean goes
    with a weight of 0.1: their patch has 144 x 144 x 128 x 2 = 5.3 million values, so images of unit variance that are
    not reconstructed at all would cost 530,000 by the sum, beside at most 3 for the Dice loss. By the mean it is 0.1.
    """
    return functional.mse_loss(reconstruction.float(), images.float())


def kl_loss(mean: Tensor, log_variance: Tensor, voxels: int) -> Tensor:
    """Divergence of the latent distribution from the standard normal, per image voxel; mean over the batch.

    (1 / N) sum(mean^2 + variance - log variance - 1) over the latent of each sample, equation 5 of Adeniji and Liu:
    twice the Kullback-Leibler divergence, since the equation leaves out the factor of one half.

    Args:
        mean, log_variance: (batch, latent).
        voxels: the N of the equation. With the voxels of the patch a small patch weighs the term more: at 32 x 32 x 32
            it counts 81 times as much as in the paper. :data:`PAPER_VOXELS` keeps the paper's weight at any size.
    """
    mean, log_variance = mean.float(), log_variance.float()
    # expm1 keeps the digits that variance - 1 loses where the variance is near 1.
    each = mean.square() + torch.expm1(log_variance) - log_variance
    return each.flatten(1).sum(1).mean() / voxels


def l2_penalty(network: nn.Module) -> Tensor:
    """Sum of the squared weights of every convolution kernel (:func:`kernels`).

    Adeniji and Liu regularise with a weight of 1e-5 (section 5.1.2); their code adds 1e-5 times this sum to the loss.
    That is not Adam's ``weight_decay`` of 1e-5: the penalty's gradient is 2e-5 w, twice as much, and weight decay
    reaches biases, norms and dense layers too.
    """
    return sum((torch.linalg.vector_norm(kernel).square() for kernel in kernels(network)), torch.zeros(()))


def kernels(network: nn.Module) -> list[nn.Parameter]:
    """The kernels of every convolution, transposed ones included; no biases, norms or dense layers."""
    kinds = nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d
    return [layer.weight for layer in network.modules() if isinstance(layer, kinds)]
