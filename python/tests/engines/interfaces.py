"""The interfaces of vLLM and SGLang: the real files from their wheels where they are, else the same names.

`WMDETECT_ENGINE_SOURCES` is a directory with files of the wheels of vLLM and SGLang, unpacked::

    pip download --no-deps vllm==0.33.0 sglang==0.5.23
    unzip 'vllm-*.whl' 'vllm/v1/*/logits_processor/*' 'vllm/v1/worker/gpu/sample/logits_processor/*' -d sources
    unzip 'sglang-*.whl' 'sglang/srt/sampling/custom_logit_processor.py' -d sources

The packages around these files need a GPU to be imported, so they are empty here.
"""

import contextlib
import enum
import importlib.util
import logging
import os
import pathlib
import sys
import types
from dataclasses import dataclass, field

SOURCES = os.environ.get("WMDETECT_ENGINE_SOURCES")


@dataclass
class SamplingParams:
    """The fields of vLLM's and SGLang's sampling parameters that matter here."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    extra_args: dict | None = field(default=None)


def package(name: str, **names: object) -> types.ModuleType:
    """Puts a module into `sys.modules`, and its parents."""
    parent, _, child = name.rpartition(".")
    if parent and parent not in sys.modules:
        package(parent)
    module = types.ModuleType(name)
    module.__path__ = []
    vars(module).update(names)
    sys.modules[name] = module
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


def real(name: str) -> None:
    """Loads a module from the file of the engine's wheel."""
    parent, _, child = name.rpartition(".")
    if parent not in sys.modules:
        package(parent)
    path = pathlib.Path(SOURCES, *name.split(".")).with_suffix(".py")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    setattr(sys.modules[parent], child, module)


V1 = "vllm.v1.sample.logits_processor.interface"
V2 = "vllm.v1.worker.gpu.sample.logits_processor.interface"
SGLANG = "sglang.srt.sampling.custom_logit_processor"


def install() -> None:
    """Makes the interfaces importable."""
    package("vllm", SamplingParams=SamplingParams)
    if SOURCES:
        package("vllm.exceptions", VLLMValidationError=ValueError)
        package("vllm.logger", init_logger=logging.getLogger)
        package("vllm.utils.torch_utils", guard_cuda_initialization=contextlib.nullcontext)
        for module in (V1, V2, V2.replace("interface", "loader")):
            real(module)
        for name in ("dill", "orjson"):
            if importlib.util.find_spec(name) is None:
                package(name)
        real(SGLANG)
        return
    moves = enum.Enum("MoveDirectionality", ["UNIDIRECTIONAL", "SWAP"])

    @dataclass(frozen=True)
    class BatchUpdate:
        batch_size: int
        removed: list
        added: list
        moved: list

    package(
        V1, LogitsProcessor=type("LogitsProcessor", (), {}), MoveDirectionality=moves, BatchUpdate=BatchUpdate
    )
    package(V2, LogitsProcessor=type("LogitsProcessor", (), {}))
    package(SGLANG, CustomLogitProcessor=type("CustomLogitProcessor", (), {}))
