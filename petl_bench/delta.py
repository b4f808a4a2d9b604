"""delta_m: how much better than a reference several tasks are, in one number."""

from collections.abc import Mapping


def sign(higher_is_better: bool) -> int:
    """Return 1 where higher is better, -1 where lower is."""
    return 1 if higher_is_better else -1


def delta_m(
    scores: Mapping[str, float], references: Mapping[str, float], higher_is_better: Mapping[str, bool]
) -> float:
    """Return the mean relative gain over the reference, over the tasks of ``references``, in %.

    ``100 * mean_t(sign_t * (score_t - reference_t) / reference_t)``, sign -1 where lower is better.

    Raises:
        ValueError: There is no task, or a reference is 0.
        KeyError: A task of ``references`` has no score.
    """
    if not references:
        raise ValueError("delta_m over no task")
    if not all(references.values()):
        raise ValueError("delta_m is relative to the reference, which must not be 0")
    gains = [sign(higher_is_better[task]) * (scores[task] - value) / value for task, value in references.items()]
    return 100.0 * sum(gains) / len(gains)
