"""What decides the embedded backbone's weights, beside the pictures."""

from pydantic import field_validator

from petl_bench.config import NonNegative, Positive, Section
from petl_bench.data import scenes

LABELS = {
    "depth": 0.3,
    "edges": 10.0,
    "albedo": 3.0,
    "shading": 1.0,
    "boundary_distance": 1.0,
    "height": 0.5,
    "layout": 0.5,
}


class Recipe(Section):
    """The recipe of ``petl-bench pretrain``; its digest names the folder of the checkpoint.

    Attributes:
        images: Source rooms rendered.
        jitter: Largest relative change of brightness, contrast and channel gains.
        mirror_share: Share of pictures that are mirrored together with what the teacher saw in them.
        hidden_share: Share of a picture's blocks of 8 pixels that are made grey, in every second picture.
        labels: Weights of the losses of source-domain labels, beside that of the imitation, which is 1.
    """

    seed: int = 0
    images: Positive = 24000
    steps: Positive = 5000
    batch_size: Positive = 32
    learning_rate: NonNegative = 1.5e-3
    weight_decay: NonNegative = 0.05
    clip_norm: NonNegative = 1.0
    jitter: NonNegative = 0.3
    mirror_share: NonNegative = 0.0
    hidden_share: NonNegative = 0.0
    labels: dict[str, NonNegative] = LABELS
    checkpoint_every: Positive = 250

    @field_validator("labels")
    @classmethod
    def _are_of_the_source(cls, labels: dict[str, float]) -> dict[str, float]:
        """Refuse labels that rooms of the source domain lack, such as those of the headline tasks."""
        known = (*scenes.LABELS["source"], *scenes.FURTHER)
        for name in labels.keys() - known:
            raise ValueError(f"the source domain has no label {name!r}; it has {', '.join(known)}.")
        return labels
