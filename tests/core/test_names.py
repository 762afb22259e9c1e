"""Taking metric names apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.core.names import parse, tokens


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train/CrossEntropyLoss", ["train", "cross", "entropy", "loss"]),
        ("valLoss", ["val", "loss"]),
        ("XMLHTTPLoss", ["xmlhttp", "loss"]),
        ("loss_G", ["loss", "g"]),
        ("metrics/mAP50-95(B)", ["metrics", "m", "ap50", "95", "b"]),
        ("trainloss", ["train", "loss"]),
        ("lm loss", ["lm", "loss"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert tokens(text) == words


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("loss", ""),
        ("train_loss", "train"),
        ("loss/val", "val"),
        ("train/val_loss", "val"),
        ("eval/train_loss", "train"),
        ("train_eval_loss", "train"),
        ("held_out_loss", "val"),
        ("test/loss", "test"),
        ("learn/RMSE", "train"),
        ("learning_rate", ""),
        ("validation_0-logloss", "val"),
        ("lm-loss-validation/lm loss validation", "val"),
        ("valid_tokens", "val"),
        ("evaluation_loss_vs_iterations", "val"),
        ("value_loss", ""),
        ("device/loss", ""),
        ("protest_loss", ""),
    ],
)
def test_splits(text: str, split: str) -> None:
    assert parse(text).split == split


KINDS = {
    "loss": "loss|Loss|total_loss|CrossEntropyLoss|nll|rmse|mlogloss|l2|wer|train/elbo|recon|TD_error|learn/MultiClass"
    "|poisson-nloglik|lm loss|val/bpb|kl_loss",
    "other": "best_loss|min_loss|loss_weight|loss_std|time_loss|step|global_step|mfu|gpu_energy|power_error|ema_decay"
    "|lr-SGD-momentum|lr_multiplier|lr/weight_decay|optim/exp_avg/wte.weight.norm|tokens_per_second|num_zeros"
    "|eval_runtime",
    "learning_rate": "lr|learning_rate|LR|lr-AdamW|lr-SGD/pg1|lr/pg0|x/lr0|train/learningRate|learning rate|base_lr"
    "|optim/learning_rate_group0",
    "grad_norm": "grad_norm|gnorm|train_gnorm|total_grad_norm|gradient_norm|optim/total_grad_norm|grad norm"
    "|grad-norm/grad-norm|grad_2.0_norm_total",
    "layer_grad_norm": "grad_2.0_norm/layer1.weight|optim/grad/blocks.0.ff_out.weight.norm",
    "loss_scale": "loss_scale|loss scale|amp/scale|train_loss_scale",
    "epoch": "epoch|train/epoch|Epoch|current_epoch",
    "accuracy": "acc|val_accuracy|top1|eval/Acc@1|sparse_categorical_accuracy|prec1",
    "score": "auc|f1|bleu|psnr|r2|mean_reward|mAP_0.5|rewards/accuracies|aucpr",
    "adversarial": "g_loss|d_loss|loss_G|generator_loss|policy_gradient_loss|entropy_loss|actor/pg_loss",
}


@pytest.mark.parametrize(("text", "kind"), [(name, kind) for kind, names in KINDS.items() for name in names.split("|")])
def test_kinds(text: str, kind: str) -> None:
    assert parse(text).kind == kind


def test_train_and_validation_pair_by_their_bare_names() -> None:
    for a, b in [
        ("train/ce_loss", "val/ce_loss"),
        ("loss", "eval_loss_epoch"),
        ("train_loss_step", "val_loss"),
        ("training's l2", "valid_1's l2"),
        ("validation_0-rmse", "validation_1-rmse"),
        ("lm loss", "lm loss validation"),
        ("Loss_train/Loss", "loss/val"),
    ]:
        assert parse(a).bare == parse(b).bare, (a, b)
    assert parse("train/ce_loss").bare != parse("val/kl_loss").bare


@given(st.text(max_size=60))
def test_no_name_breaks_it(text: str) -> None:
    name = parse(text)
    assert name.text == text
    assert name.split in ("", "train", "val", "test")
    assert all(isinstance(w, str) for w in name.bare)


@pytest.mark.parametrize(
    ("name", "kind", "split"),
    [
        ("train_losses", "loss", "train"),
        ("ff_test_losses", "loss", "test"),
        ("losses/val", "loss", "val"),
        ("losses", "loss", ""),
        ("losses/learning_rate", "learning_rate", ""),
        ("num_losses", "other", ""),
        ("D_A", "adversarial", ""),
        ("G_L1", "adversarial", ""),
        ("d_model", "other", ""),
    ],
)
def test_lists_of_losses_and_parts_of_a_gan(name: str, kind: str, split: str) -> None:
    assert (parse(name).kind, parse(name).split) == (kind, split)


@pytest.mark.parametrize("name", ["Time cost", "cost_time", "cost (seconds)", "train/elapsed_cost", "reader_cost"])
def test_a_cost_in_time_is_no_loss(name: str) -> None:
    assert parse(name).kind == "other"
    assert parse("train_cost").kind == "loss"


@pytest.mark.parametrize("name", ["ENTS_F", "val/ENTS_P", "spans_sc_r", "DEP_UAS", "DEP_LAS", "CATS_SCORE"])
def test_scores_of_spacy_are_maximised(name: str) -> None:
    assert parse(name).kind == "score"


@pytest.mark.parametrize("text", ["", "/", "///", "%", "./."])
def test_a_name_without_a_word_is_no_role(text: str) -> None:
    assert parse(text).kind == "other"
