"""What ``test_two_processes.py`` executes, in one process or in two: a step of training and an evaluation a method.

``python two_processes.py FOLDER``, or under ``torch.distributed.run``; the main process writes what it saw.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from petl_bench import plan, plugins
from petl_bench.config import RunConfig, merge
from petl_bench.engine.batches import batches
from petl_bench.engine.build import build, task_specs
from petl_bench.engine.device import make_accelerator
from petl_bench.engine.evaluate import evaluate
from petl_bench.engine.train import Loop

EXECUTIONS = {"full": "shared", "vmt": "tapped", "mtlora": "streamed", "lora": "forked", "single": "replicated"}


def smoke(name: str, **sections: object) -> RunConfig:
    settings = {
        "method": {"name": name},
        "backbone": {"name": "embedded", "weights": "random"},
        "dataset": {"image_size": 32, "test_images": 7},
        "decoder": {"name": "segformer", "width": 16},
        "budget": "smoke",
        "tasks": ["semseg", "saliency", "normals"],
        "runtime": {"device": "cpu", "threads": 1},
    }
    return plan.plan(merge(settings, sections), plugins.vocabulary)


def seen(config: RunConfig) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """Return the gradients and norms' statistics of a step, and losses and metrics."""
    accelerator = make_accelerator(config)
    rank, world = accelerator.process_index, accelerator.num_processes
    dataset = plugins.load("datasets", config.dataset.name)
    train, test = (dataset(config.dataset, split, config.tasks, progress=False) for split in ("train", "test"))
    model, specs = build(config), task_specs(config)
    before = evaluate(model, specs, test, batch_size=1, tell=lambda _: None, accelerator=accelerator)
    loop = Loop(model, specs, config, accelerator)
    total, losses = loop.take(next(batches(train, config, rank=rank, world=world)))
    tensors = {f"grad {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    tensors |= {f"buffer {name}": buffer for name, buffer in model.decoders.named_buffers()}
    for task, one in before.items():
        arrays = {f"statistic {task}/{name}": np.ascontiguousarray(array) for name, array in one.statistics.items()}
        tensors |= {name: torch.from_numpy(array) for name, array in arrays.items()}
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    metrics = {task: {**one.values, "images": len(one.scores)} for task, one in before.items()}
    plain = {"execution": model.method.execution, "world": world, "loss": total, "losses": losses, "metrics": metrics}
    return tensors, plain


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for name in EXECUTIONS:
        for balancer in ("fixed", "uncertainty") if name == "lora" else ("fixed",):
            tensors, plain = seen(smoke(name, train={"balancer": {"name": balancer}}))
            if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
                save_file(tensors, folder / f"{name}-{balancer}.safetensors")
                (folder / f"{name}-{balancer}.json").write_text(json.dumps(plain))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
