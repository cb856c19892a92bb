"""Policies that leave the house: one self-describing file each, for PyTorch, ONNX or NumPy, and a model card."""
