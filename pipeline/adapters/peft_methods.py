"""Makes the family known to PEFT, so that its own loaders read our folders.

PEFT takes new methods only under names of its enumeration, which cannot be subclassed, so members
are added to it. Done once, at import; a name that PEFT itself has one day is left to PEFT.
"""

from __future__ import annotations

from peft import PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils import register_peft_method

from pipeline.adapters.routed_config import CONFIGS
from pipeline.adapters.routed_layer import PREFIX
from pipeline.adapters.routed_model import RoutedModel


def register_methods() -> None:
    """Register every type; calling it again changes nothing.

    Raises:
        RuntimeError: PEFT has a method of that name by now.
    """
    for name, config in CONFIGS.items():
        known = PEFT_TYPE_TO_CONFIG_MAPPING.get(name.upper())
        if known is config:
            continue
        if known is not None or name.upper() in PeftType.__members__:
            raise RuntimeError(
                f"this version of PEFT has a method {name.upper()} of its own; use the version "
                "that taskloom's pyproject.toml asks for"
            )
        _add_member(name.upper())
        register_peft_method(name=name, config_cls=config, model_cls=RoutedModel, prefix=PREFIX)
        PEFT_TYPE_TO_CONFIG_MAPPING[config.saved_type()] = config


def _add_member(name: str) -> None:
    member = str.__new__(PeftType, name)
    member._name_ = name
    member._value_ = name
    member._sort_order_ = len(PeftType.__members__)
    type.__setattr__(PeftType, name, member)
    PeftType._member_names_.append(name)
    PeftType._member_map_[name] = member
    PeftType._value2member_map_[name] = member
