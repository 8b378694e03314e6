"""The tuner: puts `RoutedLinear` in place of the linear layers of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from peft.utils.other import get_pattern_key
from torch import Tensor, nn

from pipeline.adapters.batch_tasks import watch_batches
from pipeline.adapters.model_loads import routed_layers
from pipeline.adapters.routed_config import SHARED_INPUT_GROUPS, RoutedConfig
from pipeline.adapters.routed_layer import PREFIX, RoutedLinear
from pipeline.adapters.routing_plan import build_plan


class RoutedModel(BaseTuner):
    """Tuner of all types of the family."""

    prefix = PREFIX
    tuner_layer_cls = RoutedLinear
    target_module_mapping = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    def _pre_injection_hook(
        self, model: nn.Module, config: RoutedConfig, adapter_name: str
    ) -> None:
        _refuse_tensor_parallel(model)
        _refuse_fused_experts(model, config)
        watch_batches(model)

    def _create_and_replace(  # noqa: PLR0917 - PEFT's signature
        self,
        peft_config: RoutedConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
        **_: Any,  # noqa: ANN401
    ) -> None:
        layer = target if isinstance(target, RoutedLinear) else self._wrap(target, current_key)
        rank_key = get_pattern_key(peft_config.rank_pattern.keys(), current_key)
        alpha_key = get_pattern_key(peft_config.alpha_pattern.keys(), current_key)
        plan = build_plan(
            peft_config,
            r=peft_config.rank_pattern.get(rank_key, peft_config.r),
            lora_alpha=peft_config.alpha_pattern.get(alpha_key, peft_config.lora_alpha),
        )
        layer.update_layer(
            adapter_name,
            plan,
            dropout=peft_config.lora_dropout,
            init_weights=peft_config.init_weights,
            inference_mode=peft_config.inference_mode,
            router=_router_to_share(parent, adapter_name, target_name)
            if peft_config.share_router and not plan.low_rank_router
            else None,
        )
        if layer is not target:
            if adapter_name not in self.active_adapters:
                layer.requires_grad_(False)
            self._replace_module(parent, target_name, layer, target)

    def _wrap(self, target: nn.Module, key: str) -> RoutedLinear:
        quantization_kwargs = _quantization_kwargs(self)
        inner = target.get_base_layer() if isinstance(target, BaseTunerLayer) else target
        is_linear = isinstance(inner, nn.Linear) or (
            hasattr(inner, "in_features") and hasattr(inner, "out_features")
        )
        if not is_linear:
            raise ValueError(
                f"{key}: adapters of this family go onto linear layers, got {type(inner).__name__}"
            )
        return RoutedLinear(
            target,
            watch_batches(self.model),
            quantization_kwargs=quantization_kwargs,
        )

    @contextlib.contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:  # noqa: ANN401
        if kwargs.get("adapter_names") is not None:
            raise ValueError(
                "adapter_names: one adapter per row is not possible with this family, and would "
                "be ignored; call set_adapter, or give adapter_task_ids to one adapter of several "
                "tasks"
            )
        yield

    def _check_merge_allowed(self) -> None:
        super()._check_merge_allowed()
        for name, adapter, layer in routed_layers(self.model):
            plan = layer.plans[adapter]
            if adapter in layer.active_adapters and not plan.is_constant:
                raise ValueError(
                    f"{name}: router {plan.router!r} gives every token another update, so the "
                    "adapter cannot be merged into the base; keep it beside the base, or export "
                    "it with mean gates (`taskloom adapters export --lossy`)"
                )

    @classmethod
    def _get_adapter_state_dict(  # noqa: PLR0917 - PEFT's signature
        cls,
        model: nn.Module,
        config: RoutedConfig,
        adapter_name: str,
        state_dict: dict[str, Tensor],
        unwanted_adapter_names: list[str],
    ) -> dict[str, Tensor]:
        found: dict[str, Tensor] = super()._get_adapter_state_dict(
            model, config, adapter_name, state_dict, unwanted_adapter_names
        )
        empty = sorted(name for name, value in found.items() if value.numel() == 0)
        if empty:
            # Under ZeRO-3 each process holds a piece; PEFT would write a file of nothing.
            raise ValueError(
                f"{len(empty)} weights of the adapter are empty here, e.g. {empty[0]}: gather "
                "them first, and pass them as `state_dict`"
            )
        return found


def _quantization_kwargs(tuner: RoutedModel) -> dict[str, Any]:
    from peft.utils import get_quantization_kwargs

    found: dict[str, Any] = get_quantization_kwargs(tuner)
    return found


def _router_to_share(parent: nn.Module, adapter: str, name: str) -> nn.Module | None:
    """Return the router of a sibling that reads the same state and was adapted before."""
    group = next((names for names in SHARED_INPUT_GROUPS if name in names), ())
    for sibling_name in group:
        sibling = getattr(parent, sibling_name, None)
        if not isinstance(sibling, RoutedLinear) or sibling_name == name:
            continue
        if adapter in sibling.routed_router:
            return sibling.routed_router[adapter]
    return None


def _refuse_tensor_parallel(model: nn.Module) -> None:
    size = getattr(model, "_tp_size", None)
    if isinstance(size, int) and size > 1:
        raise ValueError(
            f"the base is split over {size} devices by tensor parallelism, and a routed adapter "
            "would see a part of each state; load it without `tp_plan`"
        )


def _refuse_fused_experts(model: nn.Module, config: RoutedConfig) -> None:
    wanted = config.target_modules
    if not isinstance(wanted, set | list | tuple):
        return
    for name, parameter in model.named_parameters():
        last = name.rpartition(".")[2]
        if parameter.dim() == 3 and last in wanted:
            raise ValueError(
                f"{name}: fused expert parameters cannot carry a routed adapter; leave {last!r} "
                "out of target_modules"
            )
