"""Linear Learner: many linear models trained at once, the best one kept and calibrated."""
