"""Curvature: the largest Hessian eigenvalue and what it says of the learning rate."""
