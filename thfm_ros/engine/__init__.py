# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Runtimes of a network: PyTorch anywhere, ONNX Runtime on a CPU, TensorRT on an NVIDIA GPU."""
