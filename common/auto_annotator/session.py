"""Opening models: ONNX Runtime with providers in order, and LiteRT for .tflite files, behind one small protocol."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from auto_annotator.errors import DeviceError, WeightsError

Array = npt.NDArray[Any]
log = logging.getLogger(__name__)

_PROVIDERS = {"tensorrt": "TensorrtExecutionProvider", "cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
DEVICES = ("auto", *_PROVIDERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """Name, shape (None = any length on that axis) and numpy dtype name of one input or output."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Session(Protocol):
    """What a model adapter may rely on; tests inject a fake."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The model's inputs in its own order."""

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The model's outputs in its own order."""

    @property
    def device(self) -> str:
        """`cuda`, `tensorrt` or `cpu`: where the model really runs."""

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """All outputs in the order of `outputs`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """How models are opened.

    Attributes:
        device: `auto` (best that is there), `tensorrt`, `cuda` or `cpu`.
        allow_cpu: whether an absent GPU may be replaced by the CPU when `device` names one.
        threads: intra-op threads of one session; 0 = all cores that this process may use.
        gpu_memory_mb: upper limit of one session's GPU arena; 0 = none.
    """

    device: str = "auto"
    allow_cpu: bool = False
    threads: int = 0
    gpu_memory_mb: int = 0

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise DeviceError(f"device: got {self.device!r}, expected one of {', '.join(DEVICES)}")

    def shared_between(self, sessions: int) -> Runtime:
        """The same settings with the cores divided fairly among `sessions` that run side by side."""
        cores = self.threads or usable_cores()
        return replace(self, threads=max(1, cores // max(1, sessions)))

    def open(self, path: Path) -> Session:
        """Open a weight file; its hash must have been checked by `weights` already.

        Raises:
            DeviceError: if the GPU that was asked for is not there and the CPU is not allowed.
            WeightsError: if the file is not a model this runtime can load.
        """
        if path.suffix == ".tflite":
            return TfliteSession(path, threads=self.threads or usable_cores())
        return OnnxSession(path, runtime=self)


def usable_cores() -> int:
    """CPU cores this process may run on (containers and taskset limit them)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1


def onnx_providers(runtime: Runtime, available: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Provider list for ONNX Runtime in order of preference.

    Raises:
        DeviceError: if a GPU was asked for by name, is not in `available`, and the CPU is not allowed.
    """
    wanted = {"auto": ["cuda"], "cpu": [], "cuda": ["cuda"], "tensorrt": ["tensorrt", "cuda"]}[runtime.device]
    cuda: dict[str, Any] = {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}
    if runtime.gpu_memory_mb:
        cuda["gpu_mem_limit"] = runtime.gpu_memory_mb * 1024 * 1024
    options = {"cuda": cuda, "tensorrt": {"trt_engine_cache_enable": True}}
    chosen = [(_PROVIDERS[name], options[name]) for name in wanted if _PROVIDERS[name] in available]
    if wanted and not chosen and runtime.device != "auto":
        require_gpu(runtime, f"onnxruntime offers only {', '.join(available)}")
    return [*chosen, (_PROVIDERS["cpu"], {})]


def require_gpu(runtime: Runtime, found: str) -> None:
    """Refuse, or warn where the user allowed the CPU."""
    message = (
        f"device: asked for {runtime.device!r}, but {found}. Install the gpu extra (onnxruntime-gpu, without the CPU package"
        " onnxruntime beside it), check the driver with nvidia-smi, or allow the CPU (AUTO_ANNOTATOR_ALLOW_CPU=1)"
    )
    if not runtime.allow_cpu:
        raise DeviceError(message)
    log.warning("%s: running on the CPU as allowed", message)


def import_onnxruntime() -> Any:
    """ONNX Runtime, imported so that it reports to nobody.

    From 1.29 on its Linux wheels send telemetry, names of model files included, from the moment of their first import; only the
    variable that is set before keeps them silent. A user who sets it to 0 is left alone.

    Raises:
        DeviceError: if it is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise DeviceError("onnxruntime is not installed: pip install 'auto-annotator[cpu]' (or [gpu])") from error
    return onnxruntime


class OnnxSession:
    """An ONNX model in ONNX Runtime."""

    def __init__(self, path: Path, *, runtime: Runtime) -> None:
        ort = import_onnxruntime()
        available = ort.get_available_providers()
        providers = onnx_providers(runtime, available)
        if len(providers) > 1 and hasattr(ort, "preload_dlls"):
            ort.preload_dlls()  # finds the pip-installed CUDA and cuDNN; without it CUDA silently turns into CPU
        options = ort.SessionOptions()
        options.intra_op_num_threads = runtime.threads or usable_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_mem_pattern = False  # canvases come in many shapes; a plan of memory for each only costs memory
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # members share the cores
        try:
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:
            raise WeightsError(f"{path.name}: onnxruntime cannot load it ({type(error).__name__})") from error
        used = self._session.get_providers()
        self.device = next(name for name, provider in _PROVIDERS.items() if provider in used)
        if runtime.device in ("cuda", "tensorrt") and self.device == "cpu":
            require_gpu(runtime, "the session fell back to the CPU (CUDA or cuDNN libraries not found)")
        self.inputs = tuple(_describe(i) for i in self._session.get_inputs())
        self.outputs = tuple(_describe(o) for o in self._session.get_outputs())
        self._names = [o.name for o in self.outputs]

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """All outputs in the order of `outputs`."""
        return list(self._session.run(self._names, dict(feeds)))


def _describe(node: Any) -> TensorInfo:
    dtype = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}.get(node.type, node.type)
    return TensorInfo(name=node.name, shape=tuple(d if isinstance(d, int) else None for d in node.shape), dtype=dtype)


class TfliteSession:
    """A TensorFlow Lite model in LiteRT, on the CPU, one call at a time."""

    device = "cpu"

    def __init__(self, path: Path, *, threads: int) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise DeviceError("ai-edge-litert is not installed: pip install 'auto-annotator[cpu]' (or [gpu])") from error
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise WeightsError(f"{path.name}: LiteRT cannot load it ({type(error).__name__})") from error
        self._lock = threading.Lock()
        self._in = self._interpreter.get_input_details()
        self._out = self._interpreter.get_output_details()
        self.inputs = tuple(_describe_tflite(d) for d in self._in)
        self.outputs = tuple(_describe_tflite(d) for d in self._out)

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """All outputs in the order of `outputs`."""
        with self._lock:  # one interpreter holds one set of tensors
            for detail in self._in:
                self._interpreter.set_tensor(detail["index"], np.ascontiguousarray(feeds[detail["name"]]))
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(detail["index"]).copy() for detail in self._out]


def _describe_tflite(detail: Mapping[str, Any]) -> TensorInfo:
    return TensorInfo(name=detail["name"], shape=tuple(int(d) for d in detail["shape"]), dtype=np.dtype(detail["dtype"]).name)
