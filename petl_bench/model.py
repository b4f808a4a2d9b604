"""The model of every run: one method and one decoder per task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from petl_bench.config import BackboneConfig, DecoderConfig, ImageSize, MethodConfig
from petl_bench.decoders.base import Decoder, DecodersTogether
from petl_bench.features import Features
from petl_bench.method import Method


@dataclass(frozen=True)
class Recipe:
    """What makes a model again on the same backbone.

    Attributes:
        channels: Output channels by task.
        seed: Of everything that the method and the decoders draw, and of random weights of the backbone.
        backbone: What the backbone was built from by name; None for a network that was there already.
        image_size: Height and width in pixels that it was built for; likewise.
    """

    method: MethodConfig
    decoder: DecoderConfig
    channels: Mapping[str, int]
    seed: int
    backbone: BackboneConfig | None = None
    image_size: ImageSize | None = None


class MultiTaskModel(nn.Module):
    """Maps images [B, 3, H, W] in 0..1 to raw predictions [B, channels, H, W] by task."""

    def __init__(
        self,
        method: Method,
        decoders: Mapping[str, nn.Module],
        together: DecodersTogether | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__()
        self.method = method
        self.decoders = nn.ModuleDict(decoders)
        self.together = together
        self.recipe = recipe

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in the order of the method."""
        return self.method.tasks

    def trained_parameters(self) -> list[nn.Parameter]:
        """Return what is trained, the decoders included: what an optimiser is given."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Predict every task at the size of the image."""
        return self.decode(self.method(image), image.shape[-2:])

    def decode(self, features: Features, size: Sequence[int]) -> dict[str, Tensor]:
        """Predict every task from its features, at ``size`` [H, W]."""
        pyramids = [features.for_task(task) for task in self.decoders]
        if self.together is not None and self.together.is_faster_on(pyramids[0]):
            own = self.together(pyramids)
        else:
            own = [decoder(pyramid) for decoder, pyramid in zip(self.decoders.values(), pyramids, strict=True)]
        full = [F.interpolate(one, list(size), mode="bilinear", align_corners=False) for one in own]
        return dict(zip(self.decoders, full, strict=True))

    def for_inference(self) -> "MultiTaskModel":
        """Return a model in evaluation mode that predicts the same with folded decoders; it shares the method."""
        made = {task: decoder for task, decoder in self.decoders.items() if isinstance(decoder, Decoder)}
        folded = {task: decoder.folded() for task, decoder in made.items()}
        together = next(iter(made.values())).together(list(folded.values()))
        return MultiTaskModel(self.method, folded, together, self.recipe).eval()

    def trained_state(self) -> dict[str, Tensor]:
        """Return what was trained, and the buffers of decoders and of the method's layers, by name, on the CPU."""
        state = {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
        state |= {f"decoders.{name}": buffer for name, buffer in self.decoders.named_buffers()}
        state |= {f"method.{name}": buffer for name, buffer in self.method.kept_buffers().items()}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Put a saved state into a freshly built model of the same config.

        Raises:
            ValueError: The state has other names than the model.
        """
        odd = sorted(state.keys() ^ self.trained_state().keys())
        if odd:
            raise ValueError(f"The saved state does not fit the model: {len(odd)} names differ, first {odd[0]!r}.")
        self.load_state_dict(dict(state), strict=False)
