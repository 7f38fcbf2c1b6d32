"""Models of PyTorch, as ``torch.export`` gives them. Nothing imports torch before such a model is there."""
