"""BFCL v4 single-turn scoring with the verdicts of the official evaluator (`bfcl-eval`)."""
