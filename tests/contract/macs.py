"""Closed forms of the multiply-adds of an encoder for one image, from the equations of backbones and methods.

    stem + passes over the blocks x (the backbone's blocks + what the method adds) + what runs once
What a method adds is given by what it costs a token of width C, and beside it by what a block pays whatever the number
of tokens: weights that are generated. A bottleneck is C -> r -> C, 2 C r a token, r = floor(C / rho). Norms,
activations, scales, shifts, biases, outer and Kronecker products have no multiply-adds.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

OfWidth = Callable[[int], int]


@dataclass(frozen=True)
class Stage:
    """Blocks of one width: C, how many, tokens of an image, what each attends to, and the merging in front."""

    width: int
    depth: int
    tokens: int
    window: int
    merging: int = 0


@dataclass(frozen=True)
class Trunk:
    """A backbone at one image size: the patch embedding and the stages."""

    stem: int
    stages: tuple[Stage, ...]

    def blocks(self) -> int:
        return self.linear() + self.attention()

    def linear(self) -> int:
        """Patch merging; in every block qkv, proj and an MLP 4 times as wide, 12 C^2 a token."""
        return self.merging() + self.linear_of_blocks()

    def linear_of_blocks(self) -> int:
        return self.per_token(lambda c: 12 * c * c)

    def merging(self) -> int:
        return sum(stage.merging for stage in self.stages)

    def attention(self) -> int:
        return sum(stage.depth * products(stage) for stage in self.stages)

    def per_token(self, of_width: OfWidth) -> int:
        return sum(stage.depth * stage.tokens * of_width(stage.width) for stage in self.stages)

    def per_block(self, of_width: OfWidth) -> int:
        return sum(stage.depth * of_width(stage.width) for stage in self.stages)

    def per_token_of_last_blocks(self, of_width: OfWidth) -> int:
        return sum(stage.tokens * of_width(stage.width) for stage in self.stages)


def products(stage: Stage) -> int:
    """Q K^T and A V of one block: a token meets every token of its window in C channels, twice."""
    return stage.tokens * stage.window * 2 * stage.width


def swin_stage(width: int, depth: int, side: int, merged_from: int | None) -> Stage:
    """Windows of 7 x 7; in front, 2 x 2 tokens side by side are mapped from four times the old width."""
    return Stage(width, depth, side**2, 49, 0 if merged_from is None else side**2 * 4 * merged_from * width)


TRUNKS: Mapping[str, Trunk] = {
    "swin_tiny_patch4_window7_224": Trunk(
        stem=56**2 * 96 * 3 * 4**2,
        stages=(
            swin_stage(96, 2, 56, None),
            swin_stage(192, 2, 28, 96),
            swin_stage(384, 6, 14, 192),
            swin_stage(768, 2, 7, 384),
        ),
    ),
    "vit_small_patch16_224": Trunk(stem=196 * 384 * 3 * 16**2, stages=(Stage(384, 3, 197, 197),) * 4),
}

Form = Callable[[Trunk, int], int]


def nothing(width: int) -> int:
    return 0


def once(added: OfWidth = nothing) -> Form:
    """One pass for all tasks."""
    return lambda trunk, tasks: trunk.stem + trunk.blocks() + trunk.per_token(added)


def forked(added: OfWidth = nothing, generated: OfWidth = nothing) -> Form:
    """T passes behind the patch embedding, which holds nothing of a task's own and runs once."""
    return lambda trunk, tasks: (
        trunk.stem + tasks * (trunk.blocks() + trunk.per_token(added) + trunk.per_block(generated))
    )


def from_the_image(trunk: Trunk, tasks: int) -> int:
    """T passes of everything: the patch embedding holds something of a task's own."""
    return tasks * (trunk.stem + trunk.blocks())


def bottleneck(rho: int, multiple: int = 1) -> OfWidth:
    return lambda c: 2 * c * inner(c, rho, multiple)


def inner(width: int, rho: int, multiple: int = 1) -> int:
    return math.ceil(width // rho / multiple) * multiple


def convolved(width: int, kernels: int) -> OfWidth:
    """C -> r -> C, and between them kernels that a token of the map meets."""
    return lambda c: 2 * c * width + kernels


def lora(rank: int) -> OfWidth:
    """A and B of the query, A and B of the value."""
    return lambda c: 2 * (c * rank + rank * c)


def every_linear(rank: int) -> OfWidth:
    """A and B of qkv C -> 3C, proj C -> C, fc1 C -> 4C and fc2 4C -> C."""
    return lambda c: rank * (4 * c + 2 * c + 5 * c + 5 * c)


def low_rank(rank: int, rho: int) -> OfWidth:
    """V^T, then U, of the down and of the up projection."""
    return lambda c: 2 * (c * rank + rank * (c // rho))


def kronecker_weights(n: int, rho: int) -> OfWidth:
    """An element of W = sum_i A_i kron B_i is n products: n C r for either of two matrices."""
    return lambda c: 2 * n * c * inner(c, rho, n)


def hyperformer_weights(c: int, rho: int = 32, e: int = 64, hidden: int = 128, p: int = 64) -> int:
    """v from [z_t; l_b] in two layers; from v, at both places, W and b of down and up, a norm's scale and shift."""
    r = c // rho
    return 2 * e * hidden + hidden * p + 2 * p * (2 * c * r + r + c + 2 * c)


def decomposed_weights(k: int, n: int, rho: int, width: int | None = None) -> OfWidth:
    """Factors P: k -> out n and Q: k -> n in, and their product, for down and up; templates have one ``width``."""

    def generated(c: int) -> int:
        c = width or c
        r = c // rho
        return 2 * (k * n * (r + c) + r * n * c)

    return generated


def vpt(prompts: int) -> Form:
    """Every token attends to p more, whose keys and values, 2 C^2 each, are the same in all windows."""

    def form(trunk: Trunk, tasks: int) -> int:
        met = trunk.per_token(lambda c: prompts * 2 * c)
        return trunk.stem + tasks * (trunk.blocks() + met + trunk.per_block(lambda c: prompts * 2 * c * c))

    return form


def mtlora(rank: int, task_rank: int, *, after_merge: bool = False) -> Form:
    """Pairs on qkv C -> 3C, proj, fc1, fc2 everywhere; a task's on the last three in the last block of a stage.

    Of the network's last block z_0, and so B A of its fc2, is no feature of any task.
    """

    def form(trunk: Trunk, tasks: int) -> int:
        shared = trunk.per_token(lambda c: rank * (4 * c + 2 * c + 5 * c + 5 * c))
        own = trunk.per_token_of_last_blocks(lambda c: task_rank * (2 * c + 5 * c + 5 * c))
        unread = trunk.stages[-1].tokens * rank * 5 * trunk.stages[-1].width
        merged = trunk.merging() if after_merge else 0
        return trunk.stem + trunk.blocks() + shared - unread + tasks * (own + merged)

    return form


def ditask(trunk: Trunk, tasks: int) -> int:
    """Products with W' in the cheaper form; the tasks' on the last three of the last blocks, all of their own.

    Either W' = U diag V^T is made, n in out for n = min(in, out), or U, diag and V^T are applied one after the other.
    Of the network's last block the shared stream is no feature of any task behind its attention.
    """
    total, own = trunk.stem + trunk.merging() + trunk.attention(), 0
    for stage in trunk.stages:
        c = stage.width
        qkv, own = (
            3 * warped(stage.tokens, c, c),
            sum(warped(stage.tokens, *s) for s in ((c, c), (c, 4 * c), (4 * c, c))),
        )
        total += stage.depth * (qkv + own) + tasks * own
    return total - own


def warped(tokens: int, inputs: int, outputs: int) -> int:
    n = min(inputs, outputs)
    return min(outputs * n * inputs + tokens * inputs * outputs, tokens * (inputs * n + n * outputs))


def sinewich(rank: int) -> Form:
    """As mtlora with dense matrices of the tasks: A W B^T once, for a task smoothed by 7 and 7, times tokens."""

    def form(trunk: Trunk, tasks: int) -> int:
        of_linears = [(1, 1), (1, 4), (4, 1)]  # proj, fc1, fc2 in widths
        made = sum(rank * rank * c * o + rank * c * i * c * o for c in ends(trunk) for i, o in of_linears)
        dense = trunk.per_token_of_last_blocks(lambda c: 9 * c * c) + sum(14 * 9 * c * c for c in ends(trunk))
        return mtlora(rank, 0)(trunk, tasks) + made + tasks * dense

    return form


def tadformer(rank: int, filter: str = "dynamic", *, after_merge: bool = False) -> Form:
    """MTLoRA's pairs, one for all streams; a prompt a task in every window; filters and scores in the last blocks.

    Prompts are projected once an image, attend in every window, and go through proj and MLP but for the last block. The
    pairs of qkv meet C -> 3C, of proj C -> C, of fc1 and fc2 C -> 4C and back.
    """

    def form(trunk: Trunk, tasks: int) -> int:
        total = trunk.stem + trunk.merging() + trunk.linear_of_blocks()
        for number, stage in enumerate(trunk.stages):
            c, windows = stage.width, stage.tokens // stage.window
            qkv, behind = 3 * c * c + rank * 4 * c, 9 * c * c + rank * (2 + 5 + 5) * c
            total += stage.depth * stage.tokens * rank * (4 + 2 + 5 + 5) * c
            total += stage.depth * windows * 2 * c * (stage.window + tasks) ** 2
            total += tasks * (stage.depth * qkv + (stage.depth - (number == 3)) * behind)
            total += tasks * stage.tokens * c  # scores: a prompt's query meets every key
            total += tasks * stage.tokens * rank * (2 + 5 + 5) * c
            if filter != "none":
                total += tasks * 3 * stage.tokens * 9 * rank
            if filter == "dynamic":
                total += tasks * (windows + 1 + 1) * rank * 9 * rank  # kernels of every window at proj, else of the map
            if number:
                total += tasks * trunk.stages[number - 1].width * c
        last = trunk.stages[-1]
        total -= last.tokens * rank * 5 * last.width
        return total + (tasks * trunk.merging() if after_merge else 0)

    return form


def ends(trunk: Trunk) -> list[int]:
    return [stage.width for stage in trunk.stages]


def vmt_side(rho: int, *, reenter: bool = True) -> Form:
    """The adapters once in the trunk and once a task beside it; where a stage begins, s_t = 0 gives the trunk's u.

    Where u does not re-enter they run beside the trunk alone, in the first block of a stage once for all tasks.
    """

    def form(trunk: Trunk, tasks: int) -> int:
        one, first = trunk.per_token(bottleneck(rho)), trunk.per_token_of_last_blocks(bottleneck(rho))
        return trunk.stem + trunk.blocks() + (one if reenter else first) + tasks * (one - first)

    return form


def ladder(rho: int) -> Form:
    """Side: W_in C -> r and two layers r -> r at every block, W_up r -> C at the end of a stage."""

    def form(trunk: Trunk, tasks: int) -> int:
        return trunk.stem + trunk.blocks() + ladder_alone(rho)(trunk)

    return form


def ladder_alone(rho: int) -> Callable[[Trunk], int]:
    def products(trunk: Trunk) -> int:
        rungs = trunk.per_token(lambda c: c * inner(c, rho) + 2 * inner(c, rho) ** 2)
        return rungs + trunk.per_token_of_last_blocks(lambda c: inner(c, rho) * c)

    return products


def vmt_lifted(rho: int, vectors: int) -> Form:
    """The up-projection once a task more: of all tokens, and of ``vectors`` constant vectors."""

    def form(trunk: Trunk, tasks: int) -> int:
        lifted = trunk.per_token(lambda c: c // rho * c) + vectors * trunk.per_block(lambda c: c // rho * c)
        return once(bottleneck(rho))(trunk, tasks) + tasks * lifted

    return form


def branched_lora(rank: int, shared_stages: int, joined: int = 0) -> Form:
    """Stages behind the branching, with what stands in front of them, run for every branch: T less ``joined``."""

    def form(trunk: Trunk, tasks: int) -> int:
        def of(stages: tuple[Stage, ...]) -> int:
            part = Trunk(0, stages)
            return part.blocks() + part.per_token(every_linear(rank))

        early, late = trunk.stages[:shared_stages], trunk.stages[shared_stages:]
        return trunk.stem + of(early) + max(1, tasks - joined) * of(late)

    return form


def templates(trunk: Trunk, tasks: int) -> int:
    """Polyhistor-Lite: as polyhistor, with templates for the smallest width; enlarging them is elementwise."""
    width = min(stage.width for stage in trunk.stages)
    return forked(bottleneck(4), decomposed_weights(64, 2, 4, width))(trunk, tasks)


# By registered method, with its defaults.
FORMS: Mapping[str, Form] = {
    "adapter": forked(bottleneck(2)),
    "adapter-plus": forked(lambda c: 2 * 8 * c),
    "adaptformer": forked(lambda c: 2 * 64 * c),
    "bitfit": from_the_image,
    "branched-lora": branched_lora(16, 2),
    "compacter": forked(lambda c: 2 * bottleneck(32, 4)(c), lambda c: 2 * kronecker_weights(4, 32)(c)),
    "convpass": forked(lambda c: 2 * convolved(8, 3 * 3 * 8 * 8)(c)),
    "decoders": once(),
    "ditask": ditask,
    "full": once(),
    "hyperformer": forked(lambda c: 2 * bottleneck(32)(c), hyperformer_weights),
    "lora": forked(lora(4)),
    "low-rank-adapter": forked(low_rank(8, 32)),
    "mona": forked(lambda c: 2 * convolved(64, 7 * 7 * 64 + 64 * 64)(c)),
    "mtl-lora": forked(lora(8), lambda c: 2 * 8 * 8 * c + 2 * 3 * 8 * c),
    "mtlora": mtlora(16, 4),
    "phm": forked(bottleneck(8, 4), kronecker_weights(4, 8)),
    "polyhistor": forked(bottleneck(4), decomposed_weights(64, 9, 4)),
    "polyhistor-lite": templates,
    "relative-bias": forked(),
    "shared-adapter": forked(bottleneck(2)),
    "side": ladder(4),
    "single": from_the_image,
    "sinewich": sinewich(32),
    "ssf": from_the_image,
    "tadformer": tadformer(16),
    "vmt": once(bottleneck(4)),
    "vmt-lite": once(bottleneck(6)),
    "vpt": vpt(50),
}
