"""The closed vocabularies: severities, statuses, causes, tests, actions and safety grades.

A rule may only use words of these tables; a test holds every rule to it.
"""

from __future__ import annotations

SEVERITIES = ("info", "warning", "critical")
STATUSES = ("insufficient_data", "healthy", "warning", "critical")
STEP_UNITS = ("step", "epoch", "token", "row")
FAIL_ON = ("warning", "critical", "never")  # severities from which an exit code or a test fails
SAFETY_GRADES = ("informational", "cheap", "changes_experiment")

# Each cause with the cheapest test that tells it from the others; None where nothing needs to be tested.
CAUSES: dict[str, str | None] = {
    "learning-rate-too-high": "lr_trial",
    "learning-rate-too-low": "lr_range_test",
    "no-warmup": "lr_trial",
    "learning-rate-decayed-early": "lr_trial",
    "no-decay": "lr_trial",
    "gradients-explode": "check_gradients",
    "gradients-vanish": "check_gradients",
    "bad-initialization": "initial_loss",
    "dead-units": "check_gradients",
    "frozen-or-detached": "check_gradients",
    "training-loop-bug": "overfit_one_batch",
    "loss-misused": "initial_loss",
    "precision-overflow": "check_gradients",
    "bad-batch": "check_data",
    "bad-data": "check_data",
    "inputs-unscaled": "check_data",
    "outliers": "check_data",
    "label-noise": "check_data",
    "labels-uninformative": "shuffled_label",
    "data-unshuffled": "shuffle_test",
    "data-leak": "compare_splits",
    "too-little-data": "compare_splits",
    "capacity-exceeds-data": "overfit_subset",
    "capacity-too-small": "overfit_one_batch",
    "over-regularized": "eval_mode_gap",
    "batch-too-small": "gradient_noise_scale",
    "momentum-too-high": "lr_trial",
    "clipping-too-tight": "log_more",
    "validation-differs": "compare_splits",
    "validation-too-small": "compare_splits",
    "eval-mode-mismatch": "eval_mode_gap",
    "state-lost-on-resume": "resume_test",
    "budget-too-short": "lr_trial",
    "schedule-restart": "resume_test",
    "saddle-or-plateau": "curvature",
    "normal": None,
}

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
