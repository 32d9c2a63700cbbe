"""Settings of a model, its training, its data and its evaluation: frozen dataclasses, validated when created."""

from ccvae.config.data import READERS, DataConfig, DataPlace
from ccvae.config.evaluation import EvaluationConfig
from ccvae.config.model import ModelConfig
from ccvae.config.training import LoggerName, TrainConfig
from ccvae.config.validation import check_input_shape, check_seed, check_type, check_whole, settings_from

__all__ = [
    "READERS",
    "DataConfig",
    "DataPlace",
    "EvaluationConfig",
    "LoggerName",
    "ModelConfig",
    "TrainConfig",
    "check_input_shape",
    "check_seed",
    "check_type",
    "check_whole",
    "settings_from",
]
