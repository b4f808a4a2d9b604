"""VMT-Adapter: one shared adapter beside every MLP, and a scale and a shift per task that read it out.

Paper: Xin et al., AAAI 2024, https://arxiv.org/abs/2312.08733 (abstract; no public code).
Differs from the paper: a reconstruction. The paper states: parallel to the MLP of every Swin block; a shared part and
independent per-task knowledge extraction modules with few parameters; multi-scale task-generic and task-specific
information for each decoder; about O(1) cost in the number of tasks; about 1 % of the parameters. Our equations:
    x' = x + attention(norm1(x)),   z = W_down LN(x') + b_down,   h = act(z),   u = s (W_up h + b_up)
    block output = x' + MLP(norm2(x')) + u                    (u alone re-enters the trunk)
    k_t = alpha_t * u + beta_t;   decoder t reads, per stage, output + sum over its blocks of k_t
and the count that follows: 1,127,952 on Swin-T for 4 tasks, 1.02 % of four backbones.

At alpha = beta = 0, the start, this is the shared parallel adapter: the null that every setting keeps. What a setting
puts in place of the above, all of it a reconstruction too:
    task_path = side              s_t = 0 in front of a stage; at each block s_t += k_t of the adapter run on x' + s_t;
                                  read: output + s_t
    task_path = trunk             block output of task t = x'_t + MLP(norm2(x'_t)) + u_t + k_t; read: the stage output
    extract_at = bottleneck       k_t = s W_up (alpha_t * h + beta_t)
    extract_at = pre-activation   k_t = s W_up (act((1 + alpha_t) * z + beta_t) - act(z)), so that u + k_t is an adapter
                                  with a scale and a shift of the task's own inside; u re-enters the trunk in each form
    decoder_input = concat        read: output and sum of k_t (side: s_t), side by side
    decoder_input = task-only     read: the sum of u + k_t alone, which is 1 + alpha_t in place of alpha_t, and its null
                                  the sum of u; with k_t alone, alpha = W_up = 0 would be a point that neither leaves
    position = parallel-attn      u(x) joins x' in front of the MLP
    position = sequential-mlp     u(m), m = MLP(norm2(x')), joins m
    reenter = false               block output = x' + MLP(norm2(x')): the trunk stays the frozen backbone, so that
                                  training needs no backward pass through it; read: output + sum of u + k_t. No paper
                                  has this form: it is ours
    norm = block                  the frozen norm2 (beside the attention norm1) in place of LN
"""

from methods._layers import PerTaskLinear
from methods._vmt import DesignSpace, ReadOutMethod
from petl_bench.method import METHODS, Counts


@METHODS.register("vmt")
class VMT(ReadOutMethod):
    """Shared parallel adapters in the trunk, per-task read-outs beside it: one pass for any number of tasks."""

    paper = "https://arxiv.org/abs/2312.08733"
    executions = ("tapped", "side", "forked", "shared")
    scopes = ("mixed",)
    needs = ("mlp", "attention-halves")

    class Config(DesignSpace):
        """The whole design space; its defaults are the reading above."""

    def projections(self, width: int, inner: int) -> tuple[PerTaskLinear, PerTaskLinear]:
        """Return W_down, Kaiming-uniform(sqrt 5), and W_up, zero; both biases are zero."""
        down = PerTaskLinear(width, inner, None, start="kaiming")
        return down, PerTaskLinear(inner, width, None, start="zero")

    def expected_parameters(self) -> Counts:
        """Adapter 2 C r + r + C, its LayerNorm 2C, and 2C a task, summed over blocks."""
        return self.counts("2*sum_Cr + sum_r + sum_C")
