"""What to do about each cause that a test can make likely, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping

from lossdoctor.core.vocabulary import CAUSES

ADVICE: Mapping[str, str] = {
    "learning-rate-too-high": "lower the learning rate, first to a third or a tenth",
    "learning-rate-too-low": "raise the learning rate, towards what the range test suggests",
    "no-warmup": "let the learning rate rise over the first few hundred steps",
    "learning-rate-decayed-early": "let the learning rate decay later, or more slowly",
    "no-decay": "let the learning rate decay towards the end",
    "gradients-explode": "clip the gradients' norm, lower the learning rate, or start from smaller weights",
    "gradients-vanish": "add normalisation or skip connections, use ReLU or GELU, and initialise for them",
    "bad-initialization": "make the last layer small, and initialise the others for their activation",
    "dead-units": "lower the learning rate, use a leaky activation, and initialise the biases with zero",
    "frozen-or-detached": "look for requires_grad=False, detach(), no_grad(), and parameters the optimizer lacks",
    "training-loop-bug": "hold your loop against the five lines: zero_grad, forward, loss, backward, step",
    "loss-misused": "give the loss what it expects: logits or probabilities, the shape and the kind of the target",
    "precision-overflow": "train in float32 or bfloat16, or scale the loss",
    "bad-batch": "find the batch and its examples, and leave them out or mend them",
    "bad-data": "mend the rows and features that the check of the data names",
    "inputs-unscaled": "standardise the inputs: mean 0 and spread 1, by the training part",
    "outliers": "clip or transform the outliers, or take a loss that bears them (Huber)",
    "label-noise": "look through the examples of the highest loss, and mend their labels",
    "labels-uninformative": "look whether inputs and labels belong together: an order lost, a wrong column or file",
    "data-unshuffled": "shuffle the training data each epoch",
    "data-leak": "take out of validation what training has, and inputs that know the target",
    "too-little-data": "get more data, augment, or regularise",
    "capacity-exceeds-data": "regularise or augment, stop early, or take a smaller model",
    "capacity-too-small": "take a larger model",
    "over-regularized": "use less dropout, weight decay or augmentation",
    "batch-too-small": "take larger batches, or accumulate gradients, or lower the learning rate",
    "momentum-too-high": "lower the momentum, or the learning rate with it",
    "clipping-too-tight": "clip at a higher norm",
    "validation-differs": "draw training and validation from the same source, by a random split",
    "validation-too-small": "validate on more examples",
    "eval-mode-mismatch": "call model.eval() before each evaluation and model.train() after it",
    "state-lost-on-resume": "save and load optimizer, scheduler and scaler beside the model",
    "budget-too-short": "train longer",
    "schedule-restart": "save and load the scheduler, or tell it the step at which it goes on",
    "saddle-or-plateau": "raise the learning rate, use momentum or Adam",
    "normal": "nothing",
}
if set(ADVICE) != set(CAUSES):
    raise AssertionError("every cause of the vocabulary has its advice")
