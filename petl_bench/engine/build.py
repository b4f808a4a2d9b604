"""Build the model of a run: backbone, method, one decoder per task; every weight drawn from the run's seed by name."""

from collections.abc import Mapping

from petl_bench import draws
from petl_bench.backbones.base import Backbone
from petl_bench.backbones.build import build_backbone
from petl_bench.config import BackboneConfig, ImageSize, RunConfig
from petl_bench.decoders.base import Decoder
from petl_bench.model import MultiTaskModel, Recipe
from petl_bench.plugins import load
from petl_bench.tasks.base import TaskSpec


def task_specs(config: RunConfig) -> dict[str, TaskSpec]:
    """Return the tasks of a run by name, in the dataset's order."""
    declared = load("datasets", config.dataset.name).tasks_in(config.runtime.folder)
    return {task: load("tasks", declared[task].kind)(declared[task].channels) for task in config.tasks}


def build(config: RunConfig) -> MultiTaskModel:
    """Build the model of a run on the CPU.

    Raises:
        UsageError: The backbone, its weights or the image size cannot be had, or the method is not defined on it.
    """
    return build_model(config, {task: spec.channels for task, spec in task_specs(config).items()})


def build_model(config: RunConfig, channels: Mapping[str, int]) -> MultiTaskModel:
    """Build a model with the given tasks: output channels by name, in place of the config's own tasks."""
    recipe = Recipe(config.method, config.decoder, channels, config.seed, config.backbone, config.dataset.image_size)
    return assemble(named_backbone(config.backbone, config.dataset.image_size, config.seed), recipe)


def named_backbone(config: BackboneConfig, image_size: ImageSize, seed: int) -> Backbone:
    """Build a backbone by name.

    Raises:
        UsageError: It, its weights or the image size cannot be had.
    """
    return build_backbone(
        config.name, weights=config.weights, image_size=image_size, seed=seed, normalisation=config.normalisation
    )


def assemble(backbone: Backbone, recipe: Recipe) -> MultiTaskModel:
    """Put method and decoders on a backbone, which becomes part of the model."""
    tasks = tuple(recipe.channels)
    method = load("methods", recipe.method.name)(backbone, tasks, recipe.method, recipe.seed)
    head = load("decoders", recipe.decoder.name)
    decoders: dict[str, Decoder] = {}
    for task, number in recipe.channels.items():
        with draws.seeded(recipe.seed, "decoder", task):
            decoders[task] = head(method.feature_info, number, recipe.decoder)
    return MultiTaskModel(method, decoders, recipe=recipe)
