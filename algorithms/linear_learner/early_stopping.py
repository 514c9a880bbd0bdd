"""When training has stopped to pay: the service's rule of patience and relative tolerance."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class EarlyStopping:
    """Watches one number per epoch.

    An epoch improved when the number moved by at least `tolerance`, relative to the best one so far, in the
    right direction. The best one moves with every decrease, also a small one. Training stops after
    `patience` + 1 epochs in a row without improvement.

    Source: two public logs (improved through epoch 5, stopped after epoch 9 with patience 3; a cumulative
    decrease of 0.12 % over three epochs did not count).
    """

    patience: int
    tolerance: float
    higher_is_better: bool = False
    best: float = float("inf")
    waited: int = 0

    def update(self, value: float) -> bool:
        """Take an epoch's number; return whether it improved."""
        value = -value if self.higher_is_better else value
        # a score of 0 is a possible best value: then any gain is an improvement
        gain = self.best - value
        improved = self.best == float("inf") or (gain > 0 and gain >= self.tolerance * abs(self.best))
        self.best = min(self.best, value)
        self.waited = 0 if improved else self.waited + 1
        return improved

    @property
    def stop(self) -> bool:
        """Whether to stop."""
        return self.waited > self.patience
