"""Studies: trained models compared on real rows, where a benchmark compares times."""
