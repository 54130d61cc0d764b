"""BibTeX of the data sets."""

from __future__ import annotations

__all__ = ["MODELNET", "SOLIDS"]

MODELNET = """@inproceedings{wu2015shapenets,
  title = {{3D} {ShapeNets}: A Deep Representation for Volumetric Shapes},
  author = {Wu, Zhirong and Song, Shuran and Khosla, Aditya and Yu, Fisher and Zhang, Linguang and Tang, Xiaoou and
    Xiao, Jianxiong},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  pages = {1912--1920},
  year = {2015},
}"""

SOLIDS = """@misc{inrbench_solids,
  title = {solids: procedural solids whose occupancy is known in closed form},
  author = {{inrbench}},
  howpublished = {data set of the package inrbench-shapes},
}"""
