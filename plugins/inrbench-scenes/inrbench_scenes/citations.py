"""BibTeX of the data sets."""

from __future__ import annotations

__all__ = ["CITATIONS"]

CITATIONS = {
    "learnit": """@inproceedings{tancik2021learned,
  title = {Learned Initializations for Optimizing Coordinate-Based Neural Representations},
  author = {Tancik, Matthew and Mildenhall, Ben and Wang, Terrance and Schmidt, Divi and Srinivasan, Pratul P. and
            Barron, Jonathan T. and Ng, Ren},
  booktitle = {CVPR},
  year = {2021},
}
@misc{chang2015shapenet,
  title = {{ShapeNet}: An Information-Rich {3D} Model Repository},
  author = {Chang, Angel X. and Funkhouser, Thomas and Guibas, Leonidas and Hanrahan, Pat and Huang, Qixing and
            Li, Zimo and Savarese, Silvio and Savva, Manolis and Song, Shuran and Su, Hao and Xiao, Jianxiong and
            Yi, Li and Yu, Fisher},
  eprint = {1512.03012},
  archiveprefix = {arXiv},
  year = {2015},
}""",
    "nerf": """@inproceedings{mildenhall2020nerf,
  title = {{NeRF}: Representing Scenes as Neural Radiance Fields for View Synthesis},
  author = {Mildenhall, Ben and Srinivasan, Pratul P. and Tancik, Matthew and Barron, Jonathan T. and
            Ramamoorthi, Ravi and Ng, Ren},
  booktitle = {ECCV},
  year = {2020},
}""",
    "shape-views": """@misc{inrbench_shape_views,
  title = {shape-views: procedural furniture seen by cameras},
  author = {{inrbench}},
  howpublished = {data set of the package inrbench-scenes},
}""",
}
