"""From tokenised tasks to batches: rates, schedule, packing, batches, and the plan of a run."""
