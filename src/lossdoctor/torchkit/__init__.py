"""What several rooms need of torch: gradient norms, snapshot and restoration of all training state, second order.

Its modules import torch; import them where they are needed, never from a module that must start without torch.
"""
