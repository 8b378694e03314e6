"""taskloom: many annotated datasets in, one fine-tuned language model out."""

__version__ = "0.1.0"
