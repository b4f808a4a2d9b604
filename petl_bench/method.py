"""The Method contract: how a frozen backbone is adapted, and what the decoders read.

A method owns neither loss nor optimiser nor data. Trainability is by construction: the base class freezes the whole
backbone, then calls ``adapt()``; what ``adapt()`` creates or unfreezes is the method's.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from petl_bench import features
from petl_bench.backbones.base import Backbone, StageInfo, in_words
from petl_bench.backbones.transformer import TransformerBackbone
from petl_bench.config import MethodConfig
from petl_bench.counts import Counts, closed
from petl_bench.errors import UsageError
from petl_bench.features import Features, PerTask, Pyramid
from petl_bench.geometry import Geometry
from petl_bench.registry import Registry

__all__ = ["METHODS", "Counts", "Geometry", "Method", "Owned", "ScopedConfig", "closed"]


class ScopedConfig(MethodConfig):
    """Settings of a method that exists once per task (``per-task``) or once for all (``shared``)."""

    scope: Literal["per-task", "shared"] = "per-task"


@dataclass(frozen=True)
class Owned:
    """Trained parameters of a method by owner, each under its name in the method.

    Attributes:
        shared: Used by all tasks.
        generator: Of hyper-networks, which all tasks use.
        stacked: [T, ...], slice t belongs to task t.
        private: By task, parameters that belong to it as a whole.
    """

    shared: Mapping[str, nn.Parameter]
    generator: Mapping[str, nn.Parameter]
    stacked: Mapping[str, nn.Parameter]
    private: Mapping[str, Mapping[str, nn.Parameter]]


class Method(nn.Module, ABC):
    """A way to adapt a backbone. Subclass it, write ``adapt()`` and ``expected_parameters()``, register a name.

    Attributes:
        Config: Settings of the method, each a field with a default.
        paper: Address of the paper.
        executions: The executions its configurations can have (``shared``, ``tapped``, ``forked``, ``replicated`` ...).
        scopes: Whether its parameters exist once per task, once for all, or ``mixed``: some of each by definition.
        needs: What its default configuration needs of a backbone: ``SITES`` and ``ABILITIES`` of
            ``petl_bench.backbones.base``. ``needs_of`` refines it.
        identity_at_start: At the start the features equal the frozen backbone's. Set it on the instance, in
            ``adapt()``, where the configuration decides.
        couples_tasks: The features of a task depend on which other tasks there are. Likewise.
        gradient_exempt: Names of parameters or modules (one or more parts of the path) whose gradient is zero or
            rounding noise by definition, with the reason; likewise.
        embedded_defaults: Settings with another default on the embedded backbone, which is small.
    """

    name: ClassVar[str]
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    paper: ClassVar[str] = ""
    executions: ClassVar[tuple[str, ...]] = ("shared",)
    scopes: ClassVar[tuple[str, ...]] = ("shared",)
    needs: ClassVar[tuple[str, ...]] = ()
    identity_at_start: bool = True
    couples_tasks: bool = False
    gradient_exempt: Mapping[str, str] = {}
    embedded_defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, backbone: Backbone, tasks: tuple[str, ...], config: MethodConfig, seed: int) -> None:
        super().__init__()
        missing = backbone.missing(self.needs_of(config))
        if missing:
            raise UsageError(
                f"The method {self.name!r} needs {in_words(missing)}, which this network of the family "
                f"{backbone.family} does not have.\nType: petl-bench list backbones --support"
            )
        self.backbone = backbone
        self.tasks = tasks
        self.config = config
        backbone.requires_grad_(False)
        self._born = set(backbone.parameters())  # objects, only until names are final
        self.adapt()
        self._from_backbone = frozenset(n for n, p in self.named_parameters() if p in self._born)
        del self._born
        features.initialise(self, seed, "method")
        self.fork_at = self.backbone.first_unit(lambda module: isinstance(module, PerTask) and module.is_per_task)

    @abstractmethod
    def adapt(self) -> None:
        """Create, insert or unfreeze what is trained.

        Called once, by the constructor, with ``backbone`` frozen and ``tasks`` and ``config`` set. Behind it, in this
        order: the names of the backbone's parameters are noted where they now stand, for what owns what; ``initialise``
        of every ``Keyed`` layer draws its initial values; and ``fork_at`` is read off where the first ``PerTask`` layer
        stands. So ``adapt`` draws nothing, and nothing is inserted after it.
        """

    @classmethod
    def needs_of(cls, config: MethodConfig) -> tuple[str, ...]:
        """Return what a configuration needs of a backbone; ``needs`` where no setting changes it."""
        return cls.needs

    @abstractmethod
    def expected_parameters(self) -> Counts:
        """Return the numbers of trained parameters by the closed form of the paper's equations."""

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Return the multiply-adds of the encoder for one image, by the equations as they are computed here.

        Args:
            geometry: Of the plain backbone.

        Returns:
            None, the default, where no form is stated for these settings: two counters are then compared.
        """
        return None

    def kept_buffers(self) -> dict[str, Tensor]:
        """Return, by name, the persistent buffers of the method's own layers: what training leaves beside weights."""
        persistent = self.state_dict()
        own = (
            f"{path}.{name}"
            for path, layer in self.named_modules()
            if isinstance(layer, features.Keyed)
            for name, _ in layer.named_buffers(recurse=False)
        )
        return {name: persistent[name] for name in own if name in persistent}

    def inactive_parameters(self) -> int:
        """Return how many trained parameters are stored and left out of the computation, as training made it."""
        return 0

    @property
    def scope_tasks(self) -> tuple[str, ...] | None:
        """What a ``PerTask`` layer of a method with a scope is given: the tasks, or None when all share one slice."""
        assert isinstance(self.config, ScopedConfig), f"the Config of {self.name!r} is no ScopedConfig"
        return self.tasks if self.config.scope == "per-task" else None

    def scoped(self, formula: str, **symbols: int) -> Counts:
        """Return the closed form of a method with a scope: ``formula`` counts one set, and T sets when per task."""
        if self.scope_tasks is None:
            return Counts(shared=closed(formula, **symbols))
        return Counts(per_task=closed(f"T * ({formula})", T=len(self.tasks), **symbols))

    def macs_of_passes(self, geometry: Geometry, added: int = 0) -> int | None:
        """Return one pass of the trunk, or T of them behind the place where the batch is forked.

        Args:
            geometry: Of the plain backbone.
            added: What a pass pays beside the trunk.

        Returns:
            None where the batch is forked behind the first block, for which no form is stated.
        """
        if self.fork_at is not None and self.fork_at > 0:
            return None
        forks = 1 if self.fork_at is None else len(self.tasks)
        return (forks if self.fork_at == -1 else 1) * geometry.stem + forks * (geometry.blocks + added)

    @property
    def transformer(self) -> TransformerBackbone:
        """The backbone of a method that needs ``attention-halves``, which transformers alone have."""
        assert isinstance(self.backbone, TransformerBackbone), f"{self.name!r} does not say that it needs a transformer"
        return self.backbone

    @property
    def widths(self) -> tuple[int, ...]:
        """The width C of every block, for closed forms."""
        return tuple(block.width for block in self.backbone.blocks)

    @property
    def execution(self) -> str:
        """How this configuration runs T tasks: ``forked`` if a frozen block sees per-task values, else ``shared``."""
        return "shared" if self.fork_at is None else "forked"

    @property
    def feature_info(self) -> tuple[StageInfo, ...]:
        """Channels and strides of the pyramids that the decoders read."""
        return self.backbone.stages

    def private_modules(self) -> Mapping[str, nn.Module]:
        """Return, by task, modules that belong to that task as a whole. None by default."""
        return {}

    def forward(self, image: Tensor) -> Features:
        """Map images [B, 3, H, W] in 0..1 to what the decoders read."""
        num_tasks = len(self.tasks)
        walk = self.backbone.walk(image, fork_at=self.fork_at, num_tasks=num_tasks)
        pyramid = self.backbone.pyramid(walk.streams)
        return Features(shared=pyramid) if self.fork_at is None else self.by_task(pyramid)

    def by_task(self, pyramid: Pyramid) -> Features:
        """Hand every task its part of the pyramid [T * B, C, H, W] of a forked batch."""
        # Not by index: each index would write gradients of the size of all tasks, T^2 in the backward pass. Nor by
        # a reshape: it gives a batch of one strides that convolutions do not take for channels-last, at twice the time.
        levels = [level.chunk(len(self.tasks)) for level in pyramid]
        return Features(per_task=dict(zip(self.tasks, zip(*levels, strict=True), strict=True)))

    def merge(self) -> dict[str, Backbone]:
        """Fold what was trained into plain frozen backbones, one per task, whose pyramids equal this method's features.

        Raises:
            UsageError: Something that was added has no plain form, a nonlinearity for one.
        """
        return {task: self.merged(t).requires_grad_(False) for t, task in enumerate(self.tasks)}

    def merged(self, t: int) -> Backbone:
        """Return the plain backbone of task number ``t``.

        Raises:
            UsageError: Something that was added has no plain form.
        """
        backbone = copy.deepcopy(self.backbone)
        # A snapshot, innermost first: a merged layer may stand in another one that is merged after it.
        layers = [(path, layer) for path, layer in backbone.named_modules() if isinstance(layer, features.Keyed)]
        for path, layer in reversed(layers):
            plain = layer.merged(t)
            if plain is None:
                raise self._unmergeable(f"{type(layer).__name__} at {path!r} has no plain form")
            parent, _, name = path.rpartition(".")
            setattr(backbone.get_submodule(parent), name, plain)
        for name, parameter in self.named_parameters():
            if parameter.requires_grad and not name.startswith("backbone."):
                raise self._unmergeable(f"{name!r} is trained outside the backbone")
        return backbone

    def _unmergeable(self, why: str) -> UsageError:
        return UsageError(
            f"The method {self.name!r} cannot be merged into a plain backbone: {why}.\n"
            f"Type: petl-bench params --method {self.name}"
        )

    def copy_backbone(self) -> Backbone:
        """Return a copy of the backbone whose parameters count as the backbone's; only ``adapt`` may call it."""
        replica = copy.deepcopy(self.backbone)
        self._born.update(replica.parameters())
        return replica

    def belongs_to_backbone(self, name: str) -> bool:
        """Return whether the parameter of that name came with the backbone (and takes its learning rate)."""
        return name in self._from_backbone

    def exempt(self) -> dict[str, str]:
        """Return, by name, the parameters that ``gradient_exempt`` is about, with the reason."""
        return {
            name: reason
            for name, _ in self.named_parameters()
            for part, reason in self.gradient_exempt.items()
            if f".{part}." in f".{name}."
        }

    def without_decay(self) -> set[str]:
        """Return the names of trained parameters that take no weight decay: vectors, and what timm exempts."""
        stacked = self.owned().stacked
        vectors = {
            f"{path}.{name}"
            for path, layer in self.named_modules()
            if isinstance(layer, features.Keyed)
            for name in layer.vectors
        }
        without_decay = getattr(self.backbone.trunk, "no_weight_decay", tuple[str, ...])  # not every timm model says it
        exempt = tuple(f".{name}" for name in without_decay())
        return {
            name
            for name, parameter in self.named_parameters()
            if parameter.dim() - (name in stacked) <= 1 or name in vectors or name.endswith(exempt)
        }

    def owned(self) -> Owned:
        """Return what is trained, by owner; a tied parameter once."""
        trained = {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
        stacked = {
            f"{path}.{name}"
            for path, layer in features.per_task_layers(self)
            for name, _ in layer.named_parameters(recurse=False)
        }
        generated_from = tuple(features.generator_paths(self))
        generator = {name for name in trained if name.startswith(generated_from)}
        task_of = {p: task for task, module in self.private_modules().items() for p in module.parameters()}
        private: dict[str, dict[str, nn.Parameter]] = {task: {} for task in self.tasks}
        for name, parameter in trained.items():
            if parameter in task_of:
                private[task_of[parameter]][name] = parameter
        return Owned(
            shared={n: p for n, p in trained.items() if n not in stacked and n not in generator and p not in task_of},
            generator={n: p for n, p in trained.items() if n in generator},
            stacked={n: p for n, p in trained.items() if n in stacked},
            private=private,
        )


METHODS: Registry[type[Method]] = Registry("method")
