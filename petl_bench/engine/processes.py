"""Several processes that train one model: each computes a part of every batch, all get the gradients of the whole.

The losses are those of the whole batch, in every process: predictions and labels are gathered, in the order of the
batch. A mean over valid pixels is then one mean, however they are spread, and every balancer sees the same numbers. The
gradient of one's own rows goes back times the number of processes, since their average is taken afterwards.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from petl_bench.config import RunConfig
from petl_bench.errors import UsageError
from petl_bench.model import MultiTaskModel


def prepare_for_processes(model: MultiTaskModel, config: RunConfig, accelerator: Accelerator) -> None:
    """Make a model and its accelerator fit for several processes; with one there is nothing to do.

    Raises:
        UsageError: A batch cannot be divided evenly, or the model has a norm over the batch that cannot span processes.
    """
    world = accelerator.num_processes
    if world == 1:
        return
    size = config.train.batch_size
    if size % world:
        raise UsageError(
            f"train.batch_size = {size} cannot be divided among {world} processes.\n"
            f"Type: --set train.batch_size={-(-size // world) * world}   or take another number of processes"
        )
    _norm_over_all(model)
    is_partly_unused = bool(model.method.gradient_exempt)
    handler: Any = DistributedDataParallelKwargs(find_unused_parameters=is_partly_unused)
    accelerator.ddp_handler = handler


def of_all(rows: Mapping[str, Tensor], accelerator: Accelerator) -> dict[str, Tensor]:
    """Return the predictions or labels of all processes, by task, in the order of the batch, from one's own."""
    if accelerator.num_processes == 1:
        return dict(rows)
    return {task: _Gathered.apply(one) for task, one in rows.items()}


def share(number: int, rank: int, world: int) -> range:
    """Return which of ``number`` images a process evaluates: consecutive ones, the first process has the most."""
    bounds = [-(-number * part // world) for part in range(world + 1)]
    return range(bounds[rank], bounds[rank + 1])


def merged(parts: Mapping[str, Mapping[str, np.ndarray]], accelerator: Accelerator) -> dict[str, dict[str, np.ndarray]]:
    """Return the statistics of all images, by task and name, from those of every process; without images, empty."""
    if accelerator.num_processes == 1:
        return {task: dict(arrays) for task, arrays in parts.items()}
    gathered: list[Mapping[str, Mapping[str, np.ndarray]]] = [dict(parts) for _ in range(accelerator.num_processes)]
    torch.distributed.all_gather_object(gathered, parts)
    filled = [one for one in gathered if one]
    return {
        task: {name: np.concatenate([one[task][name] for one in filled]) for name in arrays}
        for task, arrays in filled[0].items()
    }


def names_of_all(names: Iterable[str], accelerator: Accelerator) -> list[str]:
    """Return the names that any process has, sorted."""
    own = sorted(names)
    if accelerator.num_processes == 1:
        return own
    gathered: list[list[str]] = [own for _ in range(accelerator.num_processes)]
    torch.distributed.all_gather_object(gathered, own)
    return sorted({name for names in gathered for name in names})


class _Gathered(torch.autograd.Function):
    """Rows of all processes, interleaved as the batch was divided: row i of process r is row i * world + r."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        world = torch.distributed.get_world_size()
        parts = [torch.empty_like(local, memory_format=torch.contiguous_format) for _ in range(world)]
        torch.distributed.all_gather(parts, local.contiguous())
        return torch.stack(parts, 1).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
        return gradients[0][rank::world] * world


class _Summed(torch.autograd.Function):
    """The sum over processes, and so is its gradient."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        total = local.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        torch.distributed.all_reduce(total)
        return total


class BatchNormOverProcesses(nn.BatchNorm2d):
    """Batch norm with the mean and variance of the whole batch, on any device (torch's own is for CUDA alone)."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input`` [B, C, H, W]."""
        if not self.training:
            return super().forward(input)
        number = input.numel() // input.shape[1] * torch.distributed.get_world_size()
        mean = _Summed.apply(input.sum((0, 2, 3))) / number
        centred = input - mean[:, None, None]
        variance = _Summed.apply(centred.square().sum((0, 2, 3))) / number
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
        scaled = centred * (variance + self.eps).rsqrt()[:, None, None]
        return scaled * self.weight[:, None, None] + self.bias[:, None, None]


def _norm_over_all(model: MultiTaskModel) -> None:
    """Put norms over all processes in place of norms over one, with their own parameters and buffers.

    Raises:
        UsageError: A norm is of a kind that this does not know.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if not isinstance(child, _BatchNorm) or isinstance(child, BatchNormOverProcesses):
                continue
            trained = [parameter for parameter in child.parameters() if parameter.requires_grad]
            if not trained and not child.training:
                continue
            if type(child) is not nn.BatchNorm2d or not child.affine or not child.track_running_stats:
                raise UsageError(
                    f"{type(child).__name__} norms over the batch of one process alone, so several processes would not "
                    "train what one does.\nType: the same command in one process"
                )
            norm = BatchNormOverProcesses(child.num_features, child.eps, child.momentum)
            norm._parameters, norm._buffers = child._parameters, child._buffers
            setattr(parent, name, norm.train(child.training))
