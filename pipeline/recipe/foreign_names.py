"""Field names of older or other projects, and what to write instead."""

from __future__ import annotations

RENAMED: dict[str, str] = {
    "adapter_name_or_path": "resume_from_checkpoint",
    "base_model": "model_name_or_path",
    "batch_size": "per_device_train_batch_size",
    "chat_template": "chat_template_path",
    "cutoff_len": "max_length",
    "data_seed": "seed",
    "dataset": "tasks",
    "dataset_mixer": "tasks",
    "dataset_mixture": "tasks",
    "dataset_name": "tasks",
    "datasets": "tasks",
    "epochs": "num_train_epochs",
    "eval_batch_size": "per_device_eval_batch_size",
    "evaluation_strategy": "eval_strategy",
    "flash_attention": "attn_implementation",
    "flash_attn": "attn_implementation",
    "gradient_clipping": "max_grad_norm",
    "load_4bit": "load_in_4bit",
    "load_8bit": "load_in_8bit",
    "lora_rank": "lora_r",
    "lora_target": "lora_target_modules",
    "lora_target_linear": "lora_target_modules",
    "lr": "learning_rate",
    "lr_scheduler": "lr_scheduler_type",
    "max_grad_norm_clip": "max_grad_norm",
    "max_seq_length": "max_length",
    "micro_batch_size": "per_device_train_batch_size",
    "model": "model_name_or_path",
    "model_name": "model_name_or_path",
    "model_max_length": "max_length",
    "modules_to_save": "lora_modules_to_save",
    "num_epochs": "num_train_epochs",
    "optimizer": "optim",
    "out_dir": "output_dir",
    "quantization_bit": "load_in_4bit",
    "rank": "lora_r",
    "resume": "resume_from_checkpoint",
    "sample_packing": "packing",
    "scheduler": "lr_scheduler_type",
    "sequence_len": "max_length",
    "target_modules": "lora_target_modules",
    "task_mixture": "mixture",
    "torch_dtype": "dtype",
    "train_batch_size": "per_device_train_batch_size",
    "use_flash_attention_2": "attn_implementation",
    "warmup_ratio": "warmup_steps",
}
"""Foreign name -> the recipe's name."""

NOTES: dict[str, str] = {
    "warmup_ratio": "Below 1 it is a share of all steps",
    "quantization_bit": "Set it to true; for 8 bits set `load_in_8bit`",
    "use_flash_attention_2": "Set it to `flash_attention_2`",
    "flash_attention": "Set it to `flash_attention_2`",
    "flash_attn": "Set it to `flash_attention_2`",
    "lora_target_linear": "Set it to `all-linear`",
}
"""What else changes with the name."""

REFUSED: dict[str, str] = {
    "trust_remote_code": "code from a model's repository is never run",
    "assistant_only_loss": "the loss always covers the answers only",
    "completion_only_loss": "the loss always covers the answers only",
    "train_on_inputs": "the loss always covers the answers only",
    "dataset_text_field": "annotations say how a row becomes text",
    "deepspeed": "the engine is chosen by `accelerate launch --config_file`",
    "fsdp": "the engine is chosen by `accelerate launch --config_file`",
    "fsdp_config": "the engine is chosen by `accelerate launch --config_file`",
    "auto_find_batch_size": "it would change the batch the recipe asks for",
    "group_by_length": "packing fills the rows instead",
    "use_peft": "an adapter is always trained; choose it with `adapter`",
    "save_safetensors": "weights are always written as safetensors",
}
"""Names of options that do not exist here, with the reason."""
