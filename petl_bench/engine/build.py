"""Build the model of a run: backbone, method, one decoder per task; every weight drawn from the run's seed by name."""

from collections.abc import Mapping

from petl_bench import draws
from petl_bench.backbones.build import build_backbone
from petl_bench.config import RunConfig
from petl_bench.decoders.base import Decoder
from petl_bench.model import MultiTaskModel
from petl_bench.plugins import load
from petl_bench.tasks.base import TaskSpec


def task_specs(config: RunConfig) -> dict[str, TaskSpec]:
    """Return the tasks of a run by name, in the dataset's order."""
    channels = load("datasets", config.dataset.name).tasks
    return {task: load("tasks", task)(channels[task]) for task in config.tasks}


def build(config: RunConfig) -> MultiTaskModel:
    """Build the model of a run on the CPU.

    Raises:
        UsageError: The backbone, its weights or the image size cannot be had, or the method is not defined on it.
    """
    return build_model(config, {task: spec.channels for task, spec in task_specs(config).items()})


def build_model(config: RunConfig, channels: Mapping[str, int]) -> MultiTaskModel:
    """Build a model with the given tasks: output channels by name, in place of the config's own tasks."""
    backbone = build_backbone(
        config.backbone.name,
        weights=config.backbone.weights,
        image_size=config.dataset.image_size,
        seed=config.seed,
        normalisation=config.backbone.normalisation,
    )
    method = load("methods", config.method.name)(backbone, tuple(channels), config.method, config.seed)
    head = load("decoders", config.decoder.name)
    decoders: dict[str, Decoder] = {}
    for task, number in channels.items():
        with draws.seeded(config.seed, "decoder", task):
            decoders[task] = head(method.feature_info, number, config.decoder)
    return MultiTaskModel(method, decoders)
