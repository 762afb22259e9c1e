"""Record a training loop by hand and ask for a diagnosis at its end.

The "training" is gradient descent on (w - 3)^2 with a learning rate above 2 / lambda_max = 1: it must diverge.
"""

from __future__ import annotations

import lossdoctor


def main(learning_rate: float = 1.05, steps: int = 60) -> lossdoctor.TrainingHistory:
    """Descend, record, diagnose."""
    history = lossdoctor.TrainingHistory(name=f"lr {learning_rate}")
    w = 0.0
    for _ in range(steps):
        gradient = 2 * (w - 3)
        history.record(loss=(w - 3) ** 2, grad_norm=abs(gradient))
        w -= learning_rate * gradient
    result = history.diagnose()
    print(f"learning rate {learning_rate}: {result['status']}")
    print("issues:", ", ".join(result["issues"]) or "none")
    print("what to do:", *result["recommendations"], sep="\n  ")
    return history


if __name__ == "__main__":
    main()
