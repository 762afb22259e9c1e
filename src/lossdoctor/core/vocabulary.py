"""The closed vocabularies: severities, statuses, causes, tests, actions and safety grades.

A rule may only use words of these tables; a test holds every rule to it.
"""

from __future__ import annotations

SEVERITIES = ("info", "warning", "critical")
STATUSES = ("insufficient_data", "healthy", "warning", "critical")
STEP_UNITS = ("step", "epoch", "token", "row")
FAIL_ON = ("warning", "critical", "never")  # severities from which an exit code or a test fails
SAFETY_GRADES = ("informational", "cheap", "changes_experiment")

CAUSES = frozenset(
    """
    learning-rate-too-high learning-rate-too-low no-warmup learning-rate-decayed-early no-decay gradients-explode
    gradients-vanish bad-initialization dead-units frozen-or-detached training-loop-bug loss-misused precision-overflow
    bad-batch bad-data inputs-unscaled outliers label-noise labels-uninformative data-unshuffled data-leak
    too-little-data capacity-exceeds-data capacity-too-small over-regularized batch-too-small momentum-too-high
    clipping-too-tight validation-differs validation-too-small eval-mode-mismatch state-lost-on-resume
    budget-too-short schedule-restart saddle-or-plateau normal
    """.split()
)

TESTS = frozenset(
    """
    initial_loss overfit_one_batch overfit_subset random_input shuffled_label lr_range_test lr_trial check_gradients
    check_data compare_splits curvature gradient_noise_scale eval_mode_gap shuffle_test resume_test log_more
    """.split()
)

# Each action's default safety grade: a rule may give another where the evidence says so.
ACTIONS = {
    "reduce_learning_rate": "cheap",
    "increase_learning_rate": "cheap",
    "decay_learning_rate": "cheap",
    "change_schedule": "cheap",
    "add_warmup": "cheap",
    "change_optimizer": "changes_experiment",
    "adjust_momentum": "cheap",
    "clip_gradients": "cheap",
    "change_precision": "changes_experiment",
    "normalize_inputs": "changes_experiment",
    "clean_data": "changes_experiment",
    "shuffle_data": "cheap",
    "check_data": "informational",
    "get_more_data": "changes_experiment",
    "increase_batch_size": "changes_experiment",
    "add_regularization": "changes_experiment",
    "reduce_regularization": "changes_experiment",
    "increase_capacity": "changes_experiment",
    "reduce_capacity": "changes_experiment",
    "stop_early": "cheap",
    "train_longer": "cheap",
    "fix_initialization": "changes_experiment",
    "check_training_loop": "informational",
    "check_validation": "informational",
    "restore_checkpoint": "cheap",
    "change_loss": "changes_experiment",
    "none": "informational",
}


def severity_rank(severity: str) -> int:
    """Order of a severity: info 0, warning 1, critical 2.

    >>> severity_rank("critical")
    2
    """
    return SEVERITIES.index(severity)


def at_least(severity: str, threshold: str) -> bool:
    """Whether a severity reaches a threshold; the threshold ``"never"`` is reached by none.

    >>> at_least("warning", "critical")
    False
    """
    return threshold != "never" and severity_rank(severity) >= severity_rank(threshold)
