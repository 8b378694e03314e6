"""Adapters that are trained on top of a frozen base model.

Importing this package makes the multi-task family known to PEFT, so that
`PeftModel.from_pretrained` loads its folders like any other.
"""

from pipeline.adapters.peft_methods import register_methods

register_methods()
