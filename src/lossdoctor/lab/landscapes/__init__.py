"""Loss landscapes of real models: lines, filter-normalised planes, the plane of a training run, sharpness."""

from lossdoctor.lab.landscapes.landscape import Landscape, Profile
from lossdoctor.lab.landscapes.sharpness import Sharpness, sharpness
from lossdoctor.lab.landscapes.slices import interpolate, random_line, random_plane, trajectory_plane
from lossdoctor.lab.landscapes.weights import Trajectory

__all__ = [
    "Landscape",
    "Profile",
    "Sharpness",
    "Trajectory",
    "interpolate",
    "random_line",
    "random_plane",
    "sharpness",
    "trajectory_plane",
]
