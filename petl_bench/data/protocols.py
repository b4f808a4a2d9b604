"""Protocols as data: what happens to a picture before a network sees it, in training and in evaluation.

``mtl`` is the family of ASTMT, Multi-Task-Learning-PyTorch, MTLoRA, TADFormer and DiTASK; ``atrc`` that of ATRC, InvPT,
TaskPrompter, MLoRE and MTMamba. What we take for a flaw of one of them is a setting of its own that is on only there.
"""

from dataclasses import dataclass
from typing import Literal

from petl_bench.data.geometry import Sampling

IMAGENET_COLOUR = (123.675, 116.28, 103.53)  # the mean image of ImageNet: 0 once images are normalised

OURS = Sampling(colour=IMAGENET_COLOUR)
Step = Literal["flip", "fit", "warp", "resize", "scale", "crop", "colour", "pad"]


@dataclass(frozen=True)
class Protocol:
    """The steps of a protocol and their numbers.

    Attributes:
        train: Steps of training in their order; likewise ``test`` of evaluation.
        sampling: Interpolation, and what lies beyond the picture.
        degrees: Pictures are turned by up to so many degrees either way.
        scales: Lowest and highest factor by which they are enlarged.
        scale_choices: Factors one of which is drawn instead, if there are any.
        canvas: What ``warp`` draws on: the picture's own frame, or the network's input, at a random place.
        class_ratio: A window of ``crop`` is drawn again, ten times at most, while one class has a larger share.
        wraps: Flaw: an image that overshoots 0 to 255 in cubic interpolation wraps round, as bytes do.
        parts_ignore: People's parts are ignored where the ``image`` has none, or where the ``crop`` has none (flaw:
            whether a picture without people has truth depends on how it was cut).
        keeps_aspect: Whether width and height are scaled alike.
    """

    train: tuple[Step, ...]
    test: tuple[Step, ...]
    sampling: Sampling = OURS
    degrees: float = 0.0
    scales: tuple[float, float] = (1.0, 1.0)
    scale_choices: tuple[float, ...] = ()
    canvas: Literal["own", "input"] = "own"
    class_ratio: float = 1.0
    wraps: bool = False
    parts_ignore: Literal["image", "crop"] = "image"
    keeps_aspect: bool = True

    @property
    def flaws(self) -> tuple[str, ...]:
        """What is wrong with it, in words."""
        said = {
            "what lies beyond a turned picture is labelled background": self.sampling.border == "background",
            "cubic interpolation wraps round at 0 and 255": self.wraps,
            "normals are mixed with the lack of them at borders": self.sampling.normals != "nearest",
            "the aspect ratio is lost": not self.keeps_aspect,
            "parts are ignored by crop, not by image": self.parts_ignore == "crop",
        }
        return tuple(words for words, is_so in said.items() if is_so)


PROTOCOLS: dict[str, Protocol] = {
    "ours": Protocol(
        train=("flip", "fit", "warp"),
        test=("fit", "pad"),
        degrees=10.0,
        scales=(0.75, 1.5),
        canvas="input",
    ),
    "mtl": Protocol(
        train=("flip", "warp", "resize"),
        test=("resize",),
        sampling=Sampling("bicubic", "bicubic", antialias=False, border="background"),
        degrees=20.0,
        scales=(0.75, 1.25),
        wraps=True,
        parts_ignore="crop",
        keeps_aspect=False,
    ),
    "atrc": Protocol(
        train=("scale", "crop", "flip", "colour", "pad"),
        test=("pad",),
        sampling=Sampling("bilinear", "nearest", antialias=False, colour=IMAGENET_COLOUR),
        scales=(0.5, 2.0),
        class_ratio=0.75,
        parts_ignore="crop",
    ),
}
