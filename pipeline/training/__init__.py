"""The training loop: TRL's trainer with per-task losses, guards and a run folder."""
