"""From adapter to leaderboard: evaluation harness, metrics and reports of taskloom."""
