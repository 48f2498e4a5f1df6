"""What a user would write in Python instead: the same work with OpenCV, ONNX Runtime and pyrender."""
