"""Layers of hyper-networks: task embeddings, networks whose outputs are weights, and what applies those weights.

A task embedding is registered in every block that reads it, a hyper-network in every block that it serves; each is
one module, so its parameters are counted and saved once. Weights are generated where they are used, within the same
forward pass, and kept nowhere.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods._layers import ACTIVATIONS, Activation, Bottleneck, input_norm, stacked_linear
from petl_bench.config import MethodConfig, Positive
from petl_bench.features import SHARED, Generator, Keyed, PerTask, split

STD = 0.01  # of the hyper-networks of Hyperformer, as released


class TaskEmbedding(PerTask):
    """v_t: one trained vector [k] per task, N(0, std^2) at the start."""

    def __init__(self, tasks: tuple[str, ...], size: int, *, std: float) -> None:
        super().__init__(tasks)
        self.std = std
        self.weight = self.stack(size)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw one vector a task."""
        for row, weight in zip(self.rows, self.weight, strict=True):
            weight.normal_(std=self.std, generator=draw("weight", row))

    def forward(self) -> Tensor:
        """Return the vectors [T, k]."""
        return self.weight


class HyperLinear(Keyed):
    """A linear hyper-network: vectors [T, k] to tensors [T, *shape]; its weight starts N(0, std^2), its bias zero."""

    def __init__(self, inputs: int, *shape: int, std: float, bias: bool = True) -> None:
        super().__init__()
        self.shape, self.std = shape, std
        self.weight = nn.Parameter(torch.zeros(math.prod(shape), inputs))
        self.bias = nn.Parameter(torch.zeros(math.prod(shape))) if bias else None

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw the weight."""
        if self.std:
            self.weight.normal_(std=self.std, generator=draw("weight", SHARED))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors [T, k] to [T, *shape]."""
        return F.linear(vectors, self.weight, self.bias).unflatten(1, self.shape)


class JointEmbedding(Generator):
    """v = LN(W_2 relu(W_1 [z_t; l_b] + c_1) + c_2): of a task's embedding and a block's, which starts N(0, 1)."""

    vectors = ("blocks",)

    def __init__(self, num_blocks: int, embedding: int, hidden: int, projected: int) -> None:
        super().__init__()
        self.blocks = nn.Parameter(torch.zeros(num_blocks, embedding))
        self.hidden = HyperLinear(2 * embedding, hidden, std=STD)
        self.projected = HyperLinear(hidden, projected, std=STD)
        self.norm = nn.LayerNorm(projected, eps=1e-6)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw the embeddings of the blocks."""
        self.blocks.normal_(generator=draw("blocks", SHARED))

    def forward(self, tasks: Tensor, block: int) -> Tensor:
        """Map task embeddings [T, e] and a block's number to vectors [T, p]."""
        joint = torch.cat([tasks, self.blocks[block].expand_as(tasks)], 1)
        return self.norm(self.projected(F.relu(self.hidden(joint))))


class AdapterNetworks(Generator):
    """An adapter without residual whose W, b of down and up, and LayerNorm behind them, six hyper-networks generate.

    Those of the norm's scale and shift start at zero, so that the adapter does.
    """

    def __init__(self, size: int, width: int, inner: int, activation: Activation) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.down, self.down_bias = HyperLinear(size, inner, width, std=STD), HyperLinear(size, inner, std=STD)
        self.up, self.up_bias = HyperLinear(size, width, inner, std=STD), HyperLinear(size, width, std=STD)
        self.scale, self.shift = HyperLinear(size, width, std=0), HyperLinear(size, width, std=0)

    def forward(self, x: Tensor, v: Tensor) -> Tensor:
        """Adapt tokens [T * B, ..., C] with what the vectors [T, p] generate."""
        hidden = self.activation(stacked_linear(x, self.down(v), self.down_bias(v)))
        u = stacked_linear(hidden, self.up(v), self.up_bias(v))
        rows = split(F.layer_norm(u, u.shape[-1:]), len(v))
        return torch.addcmul(self.shift(v).unsqueeze(1), rows, self.scale(v).unsqueeze(1)).view_as(x)


class HyperAdapter(nn.Module):
    """The adapter of one place: it reads the shared embeddings and hyper-networks, and owns nothing."""

    def __init__(self, tasks: TaskEmbedding, joint: JointEmbedding, networks: AdapterNetworks, block: int) -> None:
        super().__init__()
        self.tasks, self.joint, self.networks, self.block = tasks, joint, networks, block

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [T * B, ..., C] to the same shape, without the residual."""
        return self.networks(x, self.joint(self.tasks(), self.block))


class Decomposed(Generator):
    """W_t = P(v_t) Q(v_t): two linear hyper-networks without bias give the factors [T, out, n] and [T, n, in].

    For v_t of length 1, W starts with the variance 1 / (3 in) of a Kaiming-uniform(sqrt 5) draw; ``zero``: with P = 0.
    """

    def __init__(self, size: int, outputs: int, inputs: int, rank: int, *, zero: bool = False) -> None:
        super().__init__()
        self.outputs = outputs
        std = (3 * inputs * rank) ** -0.25
        self.left = HyperLinear(size, outputs, rank, std=0 if zero else std, bias=False)
        self.right = HyperLinear(size, rank, inputs, std=std, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map task embeddings [T, k] to weights [T, out, in]."""
        return self.left(vectors) @ self.right(vectors)


class Scaled(Generator):
    """W_t = S kron T_t: a scaling kernel [s, s], the identity at the start, enlarges a generated template."""

    def __init__(self, template: Decomposed, scale: int) -> None:
        super().__init__()
        self.outputs = scale * template.outputs
        self.template = template
        self.kernel = nn.Parameter(torch.eye(scale))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map task embeddings [T, k] to weights [T, s * out, s * in]."""
        return torch.kron(self.kernel, self.template(vectors))


class GeneratedLinear(nn.Module):
    """y[t] = W(v_t) x[t] + b, with b shared by all tasks and zero at the start."""

    def __init__(self, embedding: TaskEmbedding, network: Decomposed | Scaled) -> None:
        super().__init__()
        self.embedding = embedding
        self.network = network
        self.bias = nn.Parameter(torch.zeros(network.outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map [T * B, ..., in] to [T * B, ..., out]."""
        return stacked_linear(x, self.network(self.embedding()), self.bias.unsqueeze(0))


class DecomposedConfig(MethodConfig):
    """``embedding``: k, size of v_t; ``rank``: n, inner size of P Q; ``rho``: width over bottleneck; ``activation``."""

    embedding: Positive = 64
    rank: Positive
    rho: Positive = 4
    activation: Activation = "gelu"


def generated_adapter(
    width: int, embedding: TaskEmbedding, down: Decomposed | Scaled, up: Decomposed | Scaled, activation: Activation
) -> Bottleneck:
    """Return a bottleneck of two generated layers behind a LayerNorm of each task's own."""
    norm = input_norm(width, embedding.rows)
    return Bottleneck(norm, GeneratedLinear(embedding, down), activation, GeneratedLinear(embedding, up))
