"""BibTeX of the data sets."""

from __future__ import annotations

__all__ = ["MODELNET", "SHAPENET", "SOLIDS"]

MODELNET = """@inproceedings{wu2015shapenets,
  title = {{3D} {ShapeNets}: A Deep Representation for Volumetric Shapes},
  author = {Wu, Zhirong and Song, Shuran and Khosla, Aditya and Yu, Fisher and Zhang, Linguang and Tang, Xiaoou and
    Xiao, Jianxiong},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  pages = {1912--1920},
  year = {2015},
}"""

SHAPENET = """@article{chang2015shapenet,
  title = {{ShapeNet}: An Information-Rich {3D} Model Repository},
  author = {Chang, Angel X. and Funkhouser, Thomas and Guibas, Leonidas and Hanrahan, Pat and Huang, Qixing and
    Li, Zimo and Savarese, Silvio and Savva, Manolis and Song, Shuran and Su, Hao and Xiao, Jianxiong and Yi, Li and
    Yu, Fisher},
  journal = {arXiv preprint arXiv:1512.03012},
  year = {2015},
}"""

SOLIDS = """@misc{inrbench_solids,
  title = {solids: procedural solids whose occupancy is known in closed form},
  author = {{inrbench}},
  howpublished = {data set of the package inrbench-shapes},
}"""
