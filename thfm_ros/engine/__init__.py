"""Runtimes of a network: PyTorch anywhere, ONNX Runtime on a CPU, TensorRT on an NVIDIA GPU."""
