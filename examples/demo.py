"""`make demo`: both walkthroughs through the real `train` and `serve`, in seconds."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

from examples import eigendigits, is_it_a_zero
from examples.digits import load_digits
from examples.interrupts import interrupts
from examples.steps import Steps


def main() -> None:
    """Run both walkthroughs in `demo/`, print their results and leave the models and the picture there."""
    interrupts.handle()
    steps = Steps()
    folder = Path("demo").resolve()
    picture = folder / "eigendigits.png"
    with steps.step("Load handwritten digits") as step:
        digits = load_digits()
        step.result = (
            f"{digits.name}: {len(digits.train_images):,} to train on, {len(digits.test_images):,} to test"
        )

    steps.title("Linear Learner: is this digit a 0?")
    is_it_a_zero.run(digits, folder / "linear-learner", steps)
    steps.title("PCA: eigendigits")
    eigendigits.run(digits, folder / "pca", picture, steps)

    for name in ("linear-learner", "pca"):  # half a gigabyte on MNIST
        shutil.rmtree(folder / name / "input" / "data")
    print(f"\nDone in {steps.total():.1f} s. Look at {picture}; the models are in {folder}/*/model.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped; nothing is left running.", file=sys.stderr)
        sys.exit(128 + (interrupts.received or signal.SIGINT))
