"""Files that tell of one run become one run; files that do not, do not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.readers.fakes import READERS, fake, falling

from lossdoctor.core.curve import Curve
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers import scan
from lossdoctor.readers.agreement import agreeing, is_prefix, key_of, same_run

LOSS = falling(40)
VAL = [v + 0.2 for v in LOSS]


def runs(folder: Path, **options: object) -> list[TrainingHistory]:
    result = scan([folder], readers=READERS, **options)  # type: ignore[arg-type]
    assert result.errors == []
    return result.histories


def one(folder: Path) -> TrainingHistory:
    found = runs(folder)
    assert len(found) == 1, [h.path for h in found]
    return found[0]


def noted(history: TrainingHistory, text: str) -> bool:
    return any(text in note for note in history.notes)


# TensorBoard


def events(folder: Path, curves: dict[str, list[float]] | None = None, *, at: float = 1000.0, **options: int) -> Path:
    path = folder / f"events.out.tfevents.{int(at)}.host.1.0"
    return fake(path, curves, format="tensorboard", time=at, **options)  # type: ignore[arg-type]


def test_event_files_of_a_folder_are_one_run_in_order_of_time(tmp_path: Path) -> None:
    events(tmp_path / "run", {"loss": LOSS[20:], "lr": [0.1] * 20}, at=9000, first=20)
    events(tmp_path / "run", {"loss": LOSS[:20]}, at=1000)
    history = one(tmp_path)
    assert history["loss"].steps.tolist() == list(range(40))
    assert history["loss"].values.tolist() == LOSS
    assert history.path == str(tmp_path / "run")
    assert history.name == "run"


def test_a_resume_is_a_segment_and_a_rerun_a_run(tmp_path: Path) -> None:
    events(tmp_path / "resumed", {"loss": LOSS[:30]}, at=1000)
    events(tmp_path / "resumed", {"loss": LOSS[20:]}, at=9000, first=20)
    events(tmp_path / "rerun", {"loss": LOSS[:30]}, at=1000)
    events(tmp_path / "rerun", {"loss": falling(30, start=5.0)}, at=9000)
    first, second, resumed = runs(tmp_path)
    assert (first.path, second.path) == (f"{tmp_path}/rerun#1", f"{tmp_path}/rerun#2")
    assert (first.name, second.name) == ("rerun#1", "rerun#2")
    assert second["loss"].values.tolist() == falling(30, start=5.0)
    assert len(resumed["loss"]) == 50
    assert [s.as_dict() for s in resumed.segments] == [
        {"first_step": 0, "last_step": 19, "superseded": 10},
        {"first_step": 20, "last_step": 39},
    ]


def test_two_processes_writing_at_once_are_not_spliced(tmp_path: Path) -> None:
    events(tmp_path, {"loss": LOSS}, at=1000)
    events(tmp_path, {"loss": falling(40, start=2.1)}, at=1003)
    first, second = runs(tmp_path)
    assert first["loss"].values.tolist() == LOSS
    assert len(second["loss"]) == 40


def test_an_event_file_without_scalars_goes_when_another_has_some(tmp_path: Path) -> None:
    events(tmp_path / "a", at=1000)
    events(tmp_path / "a", {"loss": LOSS}, at=2000)
    events(tmp_path / "b", at=1000)
    a, b = runs(tmp_path)
    assert (len(a["loss"]), a.notes) == (40, [])
    assert (b.points, b.notes) == (0, ["it holds no curves"])


def test_keras_train_and_validation_folders_are_one_run(tmp_path: Path) -> None:
    for k in (1, 2):
        logs = tmp_path / f"trial{k}"
        events(logs / "train", {"epoch_loss": falling(10, start=k), "epoch_learning_rate": [0.1] * 10})
        events(
            logs / "validation",
            {"epoch_loss": falling(10, start=k + 0.5), "evaluation_loss_vs_iterations": falling(10)},
        )
    first, second = runs(tmp_path)
    assert list(first.curves) == [
        "train/epoch_loss",
        "train/epoch_learning_rate",
        "validation/epoch_loss",
        "validation/evaluation_loss_vs_iterations",
    ]
    assert first.roles.primary("train_loss") == "train/epoch_loss"
    assert first.roles.primary("val_loss") == "validation/epoch_loss"
    assert first.roles.comparable
    assert (first.path, first.name, second.name) == (f"{tmp_path}/trial1", "trial1", "trial2")


def test_folds_are_paired_by_their_rest(tmp_path: Path) -> None:
    for fold in (1, 2):
        events(tmp_path / f"fold{fold}_train", {"loss": falling(10, start=fold)})
        events(tmp_path / f"fold{fold}_val", {"loss": falling(10, start=fold + 0.5)})
    found = runs(tmp_path)
    assert [list(h.curves) for h in found] == [
        ["fold1_train/loss", "fold1_val/loss"],
        ["fold2_train/loss", "fold2_val/loss"],
    ]
    assert [h.roles.primary("val_loss") for h in found] == ["fold1_val/loss", "fold2_val/loss"]


@pytest.mark.parametrize("names", [("train", "train2"), ("a", "b"), ("train", "other")])
def test_folders_that_are_no_splits_stay_apart(tmp_path: Path, names: tuple[str, str]) -> None:
    for k, name in enumerate(names):
        events(tmp_path / name, {"loss": falling(10, start=k + 1)})
    assert len(runs(tmp_path)) == 2


def test_train_and_validation_that_share_no_tag_stay_apart(tmp_path: Path) -> None:
    events(tmp_path / "train", {"loss": falling(10)})
    events(tmp_path / "val", {"bleu": falling(10)})
    assert len(runs(tmp_path)) == 2


def test_add_scalars_folders_join_their_run(tmp_path: Path) -> None:
    events(tmp_path, {"lr": [0.1] * 40})
    events(tmp_path / "Loss_train", {"Loss": LOSS})
    events(tmp_path / "Loss_val", {"Loss": VAL})
    events(tmp_path / "norms_a_first", {"norms/a": LOSS})
    history = one(tmp_path)
    assert sorted(history.curves) == ["first/norms/a", "lr", "train/Loss", "val/Loss"]
    assert (history.roles.primary("train_loss"), history.roles.primary("val_loss")) == ("train/Loss", "val/Loss")
    assert history.path == str(tmp_path)


# the same run in several formats


def test_lightning_counts_the_same_curve_once(tmp_path: Path) -> None:
    folder = tmp_path / "lightning_logs" / "version_0"
    events(folder, {"train_loss": list(np.float32(LOSS)), "val_loss": list(np.float32(VAL)), "hp_metric": [-1.0]})
    fake(folder / "metrics.csv", {"train_loss": LOSS, "val_loss": VAL}, format="csv")
    history = one(tmp_path)
    assert sorted(history.curves) == ["hp_metric", "train_loss", "val_loss"]
    assert history.format == "tensorboard"
    assert noted(history, "metrics.csv tells of the same run and is left out")


def test_the_richer_file_wins_and_takes_what_only_the_other_has(tmp_path: Path) -> None:
    fake(tmp_path / "metrics.csv", {"train_loss": LOSS[:10], "f1": LOSS[:10]}, format="csv")
    events(tmp_path, {"train/loss": LOSS, "val/loss": VAL})
    history = one(tmp_path)
    assert {n: len(c) for n, c in history.curves.items()} == {"train/loss": 40, "val/loss": 40, "f1": 10}
    assert noted(history, "metrics.csv tells of the same run: 1 curves are taken from it")


def test_a_printed_log_agrees_to_its_digits(tmp_path: Path) -> None:
    fake(tmp_path / "log.txt", {"loss": [round(v, 3) for v in LOSS]}, format="text")
    fake(tmp_path / "metrics.json", {"loss": LOSS}, format="jsonl")
    history = one(tmp_path)
    assert history.format == "jsonl"
    fake(tmp_path / "log.txt", {"loss": [round(v, 3) + 0.002 for v in LOSS]}, format="text")
    assert len(runs(tmp_path)) == 2


def test_the_same_values_on_another_axis_are_the_same_run(tmp_path: Path) -> None:
    fake(tmp_path / "log.csv", {"loss": LOSS}, format="csv", unit="row")
    events(tmp_path, {"loss": LOSS}, first=100, every=100)
    assert len(one(tmp_path)["loss"]) == 40


def test_different_files_side_by_side_are_different_runs(tmp_path: Path) -> None:
    fake(tmp_path / "a.csv", {"loss": LOSS, "lr": [0.1] * 40}, format="csv")
    fake(tmp_path / "b.csv", {"loss": falling(40, rate=0.91), "lr": [0.1] * 40}, format="csv")
    fake(tmp_path / "c.json", {"loss": falling(40, rate=0.92), "lr": [0.1] * 40}, format="json")
    assert [h.name for h in runs(tmp_path)] == ["a", "b", "c"]


def test_one_schedule_does_not_make_one_run(tmp_path: Path) -> None:
    rates = [0.1 * 0.9**i for i in range(40)]
    fake(tmp_path / "a.csv", {"loss": LOSS, "lr": rates}, format="csv")
    fake(tmp_path / "b.json", {"lr": rates, "val_loss": VAL}, format="json")
    assert len(runs(tmp_path)) == 2


def test_a_copy_counts_once(tmp_path: Path) -> None:
    fake(tmp_path / "log.csv", {"loss": LOSS}, format="csv")
    fake(tmp_path / "log_backup.csv", {"loss": LOSS}, format="csv")
    assert noted(one(tmp_path), "log_backup.csv tells of the same run")


def test_the_same_curve_one_folder_deeper_counts_once(tmp_path: Path) -> None:
    fake(tmp_path / "20240101.log", {"loss": [round(v, 4) for v in LOSS]}, format="text")
    fake(tmp_path / "vis_data" / "scalars.json", {"loss": LOSS, "lr": LOSS}, format="jsonl")
    fake(tmp_path / "vis_data" / "20240101.json", {"loss": LOSS, "lr": LOSS}, format="jsonl")
    history = one(tmp_path)
    assert (sorted(history.curves), history.path) == (["loss", "lr"], str(tmp_path))


# checkpoints


def test_checkpoints_that_are_beginnings_count_once(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40):
        fake(tmp_path / "out" / f"checkpoint-{step}" / "trainer_state.json", {"loss": LOSS[:step]}, format="json")
    fake(tmp_path / "out" / "trainer_state.json", {"loss": LOSS, "train_loss": [0.5]}, format="json")
    history = one(tmp_path)
    assert len(history["loss"]) == 40
    assert history.notes == ["4 checkpoints hold beginnings of the same log and are counted once"]
    assert (history.path, history.name) == (f"{tmp_path}/out", "out")


def test_checkpoints_of_another_run_stay_apart(tmp_path: Path) -> None:
    fake(tmp_path / "checkpoint-10" / "trainer_state.json", {"loss": LOSS[:10]}, format="json")
    fake(tmp_path / "checkpoint-40" / "trainer_state.json", {"loss": LOSS}, format="json")
    fake(tmp_path / "checkpoint-90" / "trainer_state.json", {"loss": falling(90, start=7.0)}, format="json")
    found = runs(tmp_path)
    assert sorted(len(h["loss"]) for h in found) == [40, 90]


def test_hugging_face_events_below_the_output_folder_count_once(tmp_path: Path) -> None:
    fake(tmp_path / "checkpoint-40" / "trainer_state.json", {"loss": LOSS, "eval_loss": VAL}, format="json", every=10)
    events(tmp_path / "runs" / "Dec01_host", {"train/loss": LOSS, "eval/loss": VAL, "train/epoch": LOSS}, every=10)
    history = one(tmp_path)
    assert history.roles.primary("val_loss") in ("eval/loss", "eval_loss")


# other layouts


def test_algoperf_measurements_of_one_trial_are_one_run(tmp_path: Path) -> None:
    trial = tmp_path / "trial_1"
    both = {"loss": LOSS, "validation/loss": VAL[:5]}
    fake(trial / "measurements.csv", both, format="csv", every=100)
    fake(trial / "eval_measurements.csv", {"validation/loss": VAL, "test/loss": VAL}, format="csv", every=100)
    events(trial, {n: list(np.float32(v)) for n, v in both.items()}, every=100)
    history = one(tmp_path)
    assert {n: len(c) for n, c in history.curves.items()} == {"loss": 40, "validation/loss": 40, "test/loss": 40}


def test_a_wandb_run_folder_is_one_run(tmp_path: Path) -> None:
    run = tmp_path / "wandb" / "run-20240101_120000-abc123"
    fake(run / "run-abc123.wandb", {"train/loss": LOSS}, format="wandb")
    fake(run / "files" / "output.log", {"loss": falling(80, start=3.0)}, format="text")
    fake(run / "files" / "wandb-summary.json", {}, format="wandb-summary")
    (tmp_path / "wandb" / "latest-run").symlink_to(run.name)
    history = one(tmp_path)
    assert (history.format, list(history.curves)) == ("wandb", ["train/loss"])
    assert history.path == str(run)
    assert noted(history, "files/output.log tells of the same run and is left out")


def test_an_output_folder_and_the_wandb_beside_it_are_one_run(tmp_path: Path) -> None:
    """The HF Trainer writes trainer_state.json to its output folder; W&B writes to the folder it was started in."""
    rounded = [float(np.float32(v)) for v in LOSS]
    state = fake(tmp_path / "out" / "trainer_state.json", {"loss": LOSS, "eval_loss": VAL}, format="json")
    run = tmp_path / "wandb" / "run-20240101_120000-abc123" / "run-abc123.wandb"
    fake(run, {"train/loss": rounded, "train/grad_norm": LOSS}, format="wandb")
    history = one(tmp_path)
    assert set(history.curves) == {"loss", "eval_loss", "train/grad_norm"}
    assert noted(history, f"{run} tells of the same run: 1 curves are taken from it") or noted(
        history, f"{state} tells of the same run"
    )


def test_another_run_in_the_wandb_beside_it_stays_apart(tmp_path: Path) -> None:
    fake(tmp_path / "out" / "trainer_state.json", {"loss": LOSS}, format="json")
    run = tmp_path / "wandb" / "run-20240101_120000-abc123" / "run-abc123.wandb"
    fake(run, {"train/loss": [*LOSS[:10], *falling(30, start=5.0)]}, format="wandb")
    assert len(runs(tmp_path)) == 2


def test_a_wandb_binary_without_history_gives_way_to_the_output(tmp_path: Path) -> None:
    run = tmp_path / "offline-run-20240101_120000-abc123"
    fake(run / "run-abc123.wandb", {}, format="wandb")
    fake(run / "files" / "output.log", {"loss": LOSS}, format="text")
    for place in (tmp_path, run):
        history = one(place)
        assert (history.format, history.points) == ("text", 40)


def test_catboost_errors_are_one_run(tmp_path: Path) -> None:
    info = tmp_path / "catboost_info"
    fake(info / "learn_error.tsv", {"RMSE": LOSS}, format="csv")
    fake(info / "test_error.tsv", {"RMSE": VAL}, format="csv")
    fake(info / "catboost_training.json", {"learn/RMSE": LOSS, "test/RMSE": VAL}, format="json")
    events(info / "learn", {"RMSE": list(np.float32(LOSS))})
    events(info / "test", {"RMSE": list(np.float32(VAL))})
    history = one(tmp_path)
    assert history.roles.names["train_loss"] == ("learn/RMSE",)
    assert history.roles.names["val_loss"] == ("test/RMSE",)
    assert sorted(history.curves) == ["learn/RMSE", "test/RMSE"]


def test_files_of_train_and_validation_are_one_run(tmp_path: Path) -> None:
    fake(tmp_path / "train_log.csv", {"loss": LOSS, "acc": LOSS}, format="csv")
    fake(tmp_path / "val_log.csv", {"loss": VAL, "acc": VAL}, format="csv")
    history = one(tmp_path)
    assert sorted(history.curves) == ["train/acc", "train/loss", "val/acc", "val/loss"]


def test_a_train_file_that_knows_validation_itself_stays_apart(tmp_path: Path) -> None:
    fake(tmp_path / "train.csv", {"loss": LOSS, "val_loss": VAL}, format="csv")
    fake(tmp_path / "test.csv", {"loss": falling(40, start=9.0)}, format="csv")
    assert len(runs(tmp_path)) == 2


def test_rotated_logs_are_one_log_oldest_first(tmp_path: Path) -> None:
    fake(tmp_path / "train.log", {"loss": LOSS[30:]}, format="text", first=30)
    fake(tmp_path / "train.log.1", {"loss": LOSS[10:30]}, format="text", first=10)
    fake(tmp_path / "train.log.2", {"loss": LOSS[:10]}, format="text")
    history = one(tmp_path)
    assert history["loss"].values.tolist() == LOSS
    assert history.notes == ["joined from 3 rotated files"]


def test_a_run_is_cut_off_its_log_before_it_is_compared(tmp_path: Path) -> None:
    second = falling(40, start=5.0)
    log = fake(tmp_path / "all.log", {"loss": LOSS}, format="text")
    log.write_text(log.read_text() + "".join(f"loss {i} {v}\n" for i, v in enumerate(second)))
    fake(tmp_path / "second.csv", {"loss": second, "lr": second}, format="csv")
    first, other = runs(tmp_path)
    assert (first.path, first["loss"].values.tolist()) == (f"{tmp_path}/all.log", LOSS)
    assert (other.format, sorted(other.curves)) == ("csv", ["loss", "lr"])
    assert noted(other, "all.log tells of the same run")


def test_thousands_of_runs_are_joined_in_linear_time(tmp_path: Path) -> None:
    for k in range(400):
        fake(tmp_path / f"run_{k}.csv", {"loss": falling(20, start=1 + k / 100)}, format="csv")
    assert len(runs(tmp_path)) == 400


# agreement itself


def test_names_that_mean_the_same_have_one_key() -> None:
    assert key_of("train/loss") == key_of("loss") == key_of("train_loss_step")
    assert key_of("val_loss") == key_of("eval/loss") == key_of("validation/loss_epoch")
    assert key_of("loss") != key_of("val_loss") != key_of("test_loss")


def test_curves_agree_by_step_by_order_or_not() -> None:
    base = Curve.make(range(40), LOSS)
    assert agreeing(base, Curve.make(range(40), np.float32(LOSS))) == 40
    assert agreeing(base, base.take(slice(10, 20))) == 10
    assert agreeing(base, Curve.make(range(0, 400, 10), LOSS)) == 40
    assert agreeing(base, Curve.make(range(40), [v * 1.001 for v in LOSS])) is None
    assert agreeing(base, Curve.make(range(100, 120), LOSS[:20])) == 0
    assert agreeing(base, Curve.make([], [])) == 0


def test_nan_agrees_with_nan_only() -> None:
    sick = [1.0, 0.9, 0.8, float("nan"), float("nan")]
    a = Curve.make(range(5), sick)
    assert agreeing(a, Curve.make(range(5), sick)) == 3
    assert agreeing(a, Curve.make(range(5), [1.0, 0.9, 0.8, 0.7, 0.6])) is None


def test_few_or_constant_values_prove_nothing() -> None:
    def history(values: list[float]) -> TrainingHistory:
        return TrainingHistory({"loss": (range(len(values)), values)})

    assert not same_run(history([0.5] * 40), history([0.5] * 40))
    assert not same_run(history([0.5, 0.4]), history([0.5, 0.4]))
    assert same_run(history([0.5, 0.4, 0.3]), history([0.5, 0.4, 0.3]))


def test_prefixes() -> None:
    long = TrainingHistory({"loss": (range(40), LOSS), "train_loss": ([40], [0.5])})
    assert is_prefix(TrainingHistory({"loss": (range(10), LOSS[:10])}), long)
    assert is_prefix(TrainingHistory({"loss": (range(10), LOSS[:10]), "eval_x": ([9], [1.0])}), long)
    assert not is_prefix(TrainingHistory({"loss": (range(1, 11), LOSS[:10])}), long)
    assert not is_prefix(TrainingHistory({"other": (range(10), LOSS[:10])}), long)
    assert not is_prefix(TrainingHistory(), long)


def test_real_keras_trials_beside_one_another_are_different_runs(tmp_path: Path) -> None:
    """Restarts of one training with one seed begin alike and part: they must not be taken for one."""
    for k in (1, 2):
        rows = [f"{0.9680 - 0.001 * i * k:.6f},{0.83 - 0.01 * i * k:.6f}" for i in range(10)]
        (tmp_path / f"trial_{k}.csv").write_text("\n".join(["val_loss,loss", *rows]))
    assert len(scan([tmp_path]).histories) == 2


def test_real_json_and_csv_of_one_run_count_once(tmp_path: Path) -> None:
    rows = [{"step": i, "loss": v, "val_loss": w} for i, (v, w) in enumerate(zip(LOSS, VAL, strict=True))]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "log.csv").write_text(
        "\n".join(["step,loss,val_loss", *(f"{r['step']},{r['loss']},{r['val_loss']}" for r in rows)])
    )
    (history,) = scan([tmp_path]).histories
    assert history.points == 40
    assert history.path == str(tmp_path)
