"""Inception-v3 up to its last pooling: 2,048 features of an image, for the Fréchet Inception distance.

Weights are the user's: a safetensors file with torchvision's names. FID (Heusel et al., 2017, arXiv 1706.08500) is
defined on the network of 1,008 classes that was published for TensorFlow in 2015, which pools in other ways in four
places; a file whose `fc.weight` has 1,008 rows is taken for it, and its distance is named FID. One of 1,000 rows is
torchvision's own network, and its distance is named after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from inrbench.errors import BadData, BadSetting
from inrbench.interfaces import ReaderFacts, Run
from inrbench.representations import Arrays, Layout, NeuralDataSet, Representations
from inrbench.signals import SignalSpec
from inrbench_ddpm.settings import InceptionSettings

__all__ = ["Inception", "InceptionV3", "images_for"]

SIDE = 299
ROWS = 32
#: Mean and spread that torchvision's network expects; the other one takes values in [-1, 1].
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CONVERT = "safetensors.torch.save_file(torch.load(FILE, weights_only=True), OUT) makes one"
Images = Float[Tensor, "rows _ _ _"]
Size = int | tuple[int, int]


class Inception:
    """Features of images by a network that is not trained here; ``metric`` is how a distance on them is named."""

    stages = ("features",)

    def __init__(self, settings: InceptionSettings, layout: Layout, spec: SignalSpec) -> None:
        self.shape = tuple(next(iter(layout.shapes.values())))
        weights, self.digest = _weights(Path(settings.file))
        classes = len(weights["fc.weight"]) if "fc.weight" in weights else 0
        if classes not in (1000, 1008):
            raise BadSetting(
                f"setting reader.file={settings.file!r}: `fc.weight` must have 1,000 rows (torchvision's network) or "
                f"1,008 (that of FID); it has {classes or 'none'}"
            )
        self.network = InceptionV3(of_fid=classes == 1008)
        own = {n: torch.as_tensor(a) for n, a in weights.items() if not n.startswith(("fc.", "AuxLogits."))}
        try:
            self.network.load_state_dict(own)
        except RuntimeError as error:
            raise BadSetting(f"setting reader.file={settings.file!r}: {str(error).splitlines()[1].strip()}") from error
        self.network.eval()
        self.metric = "FID" if classes == 1008 else "Fréchet distance on torchvision's Inception-v3"

    def refuses(self, layout: Layout) -> str | None:
        """Images of one or three channels alone."""
        if len(self.shape) != 3 or self.shape[-1] not in (1, 3):
            return f"it reads images [height, width, 1 or 3]; given: {list(self.shape)}"
        return None

    def described(self) -> Mapping[str, Any]:
        """What makes a distance comparable: weights, values, size."""
        values = "[-1, 1]" if self.network.of_fid else f"less mean {IMAGENET[0]}, over spread {IMAGENET[1]}"
        return {
            "weights_sha256": self.digest,
            "clipping": "to [0, 1], rounded to 256 levels",
            "resize": f"bilinear to {SIDE} x {SIDE}, corners not aligned, no smoothing",
            "values": values,
            "features": "last average pooling, 2,048",
        }

    def train(self, data: NeuralDataSet, run: Run) -> Arrays:
        """Nothing is learned."""
        return {}

    def load(self, state: Arrays) -> None:
        """Nothing was learned."""

    def facts(self) -> ReaderFacts:
        """Parameters up to the last pooling."""
        return ReaderFacts(sum(p.numel() for p in self.network.parameters()))

    @torch.no_grad()
    def predict(
        self,
        rows: Representations,
        run: Run,
        *,
        tap: Sequence[str] = (),
        edit: Mapping[str, Callable[[Any], Any]] | None = None,
    ) -> Arrays:
        """``features`` [rows, 2048]."""
        for name in (*tap, *(edit or {})):
            if name not in self.stages:
                raise BadSetting(f"this reader has no stage {name!r}; its stages: {', '.join(self.stages)}")
        self.network.to(run.device)
        (values,) = rows.arrays.values()
        found = []
        for first in range(0, len(rows), ROWS):
            pixels = torch.as_tensor(np.asarray(values[first : first + ROWS], dtype=np.float32)).to(run.device)
            found.append(self.network(images_for(pixels, of_fid=self.network.of_fid)).cpu().numpy())
        return {"features": np.concatenate(found)}


def images_for(pixels: Float[Tensor, "rows height width channels"], *, of_fid: bool) -> Images:
    """[rows, 3, 299, 299] from values in [0, 1], as `Inception.described` says."""
    images = (pixels.clamp(0.0, 1.0) * 255.0).round() / 255.0
    images = images.permute(0, 3, 1, 2).expand(-1, 3, -1, -1)
    images = functional.interpolate(images, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    if of_fid:
        return 2.0 * images - 1.0
    mean, spread = (torch.tensor(v, device=images.device)[:, None, None] for v in IMAGENET)
    return (images - mean) / spread


def _weights(path: Path) -> tuple[dict[str, np.ndarray], str]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
        return load(content), hashlib.sha256(content).hexdigest()
    except OSError as error:
        raise BadData(f"weights of Inception-v3: {path} cannot be read: {error.strerror or error}") from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadData(f"weights of Inception-v3: {path} is no safetensors file ({error}); {CONVERT}") from error


class InceptionV3(nn.Module):
    """Szegedy et al., 2016 (arXiv 1512.00567), with torchvision's names, up to the last pooling."""

    def __init__(self, *, of_fid: bool) -> None:
        super().__init__()
        self.of_fid = of_fid
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        average = _average(of_fid)
        self.Mixed_5b = MixedA(192, 32, average)
        self.Mixed_5c = MixedA(256, 64, average)
        self.Mixed_5d = MixedA(288, 64, average)
        self.Mixed_6a = MixedB(288)
        self.Mixed_6b = MixedC(768, 128, average)
        self.Mixed_6c = MixedC(768, 160, average)
        self.Mixed_6d = MixedC(768, 160, average)
        self.Mixed_6e = MixedC(768, 192, average)
        self.Mixed_7a = MixedD(768)
        self.Mixed_7b = MixedE(1280, average)
        self.Mixed_7c = MixedE(2048, nn.MaxPool2d(3, 1, 1) if of_fid else average)

    def forward(self, images: Images) -> Float[Tensor, "rows features"]:
        """[rows, 2048]."""
        hidden = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        hidden = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(functional.max_pool2d(hidden, 3, 2)))
        hidden = functional.max_pool2d(hidden, 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                hidden = block(hidden)
        pooled: Tensor = hidden.mean(dim=(2, 3))
        return pooled


def _average(of_fid: bool) -> nn.Module:
    """TensorFlow's average leaves the border out of the count."""
    return nn.AvgPool2d(3, 1, 1, count_include_pad=not of_fid)


class Convolution(nn.Module):
    """A convolution without bias, batch norm, ReLU."""

    def __init__(self, ins: int, out: int, kernel: Size, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(ins, out, kernel, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, images: Images) -> Images:
        """[rows, out, ...]."""
        return functional.relu(self.bn(self.conv(images)))


def _seven(ins: int, out: int, *, wide: bool) -> Convolution:
    """1 x 7, or 7 x 1."""
    return Convolution(ins, out, (1, 7) if wide else (7, 1), padding=(0, 3) if wide else (3, 0))


class MixedA(nn.Module):
    """1x1, 5x5, two 3x3, pool."""

    def __init__(self, ins: int, pooled: int, pool: nn.Module) -> None:
        super().__init__()
        self.branch1x1 = Convolution(ins, 64, 1)
        self.branch5x5_1 = Convolution(ins, 48, 1)
        self.branch5x5_2 = Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Convolution(ins, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, padding=1)
        self.pool = pool
        self.branch_pool = Convolution(ins, pooled, 1)

    def forward(self, x: Images) -> Images:
        """All branches, by channel."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        five = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(self.pool(x))], dim=1)


class MixedB(nn.Module):
    """3x3 and two 3x3, halving; max pool."""

    def __init__(self, ins: int) -> None:
        super().__init__()
        self.branch3x3 = Convolution(ins, 384, 3, stride=2)
        self.branch3x3dbl_1 = Convolution(ins, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2)

    def forward(self, x: Images) -> Images:
        """All branches, by channel."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, 2)], dim=1)


class MixedC(nn.Module):
    """1x1, a 7x7 in two parts, two of these, pool."""

    def __init__(self, ins: int, inner: int, pool: nn.Module) -> None:
        super().__init__()
        self.branch1x1 = Convolution(ins, 192, 1)
        self.branch7x7_1 = Convolution(ins, inner, 1)
        self.branch7x7_2 = _seven(inner, inner, wide=True)
        self.branch7x7_3 = _seven(inner, 192, wide=False)
        self.branch7x7dbl_1 = Convolution(ins, inner, 1)
        self.branch7x7dbl_2 = _seven(inner, inner, wide=False)
        self.branch7x7dbl_3 = _seven(inner, inner, wide=True)
        self.branch7x7dbl_4 = _seven(inner, inner, wide=False)
        self.branch7x7dbl_5 = _seven(inner, 192, wide=True)
        self.pool = pool
        self.branch_pool = Convolution(ins, 192, 1)

    def forward(self, x: Images) -> Images:
        """All branches, by channel."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(self.pool(x))], dim=1)


class MixedD(nn.Module):
    """3x3, and a 7x7 in two parts with a 3x3, halving; max pool."""

    def __init__(self, ins: int) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(ins, 192, 1)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Convolution(ins, 192, 1)
        self.branch7x7x3_2 = _seven(192, 192, wide=True)
        self.branch7x7x3_3 = _seven(192, 192, wide=False)
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2)

    def forward(self, x: Images) -> Images:
        """All branches, by channel."""
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, functional.max_pool2d(x, 3, 2)], dim=1)


class MixedE(nn.Module):
    """1x1, a 3x3 that parts into 1x3 and 3x1, the same behind another 3x3, pool."""

    def __init__(self, ins: int, pool: nn.Module) -> None:
        super().__init__()
        self.branch1x1 = Convolution(ins, 320, 1)
        self.branch3x3_1 = Convolution(ins, 384, 1)
        self.branch3x3_2a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Convolution(ins, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.pool = pool
        self.branch_pool = Convolution(ins, 192, 1)

    def forward(self, x: Images) -> Images:
        """All branches, by channel."""
        one = self.branch3x3_1(x)
        two = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        parted = [self.branch3x3_2a(one), self.branch3x3_2b(one), self.branch3x3dbl_3a(two), self.branch3x3dbl_3b(two)]
        return torch.cat([self.branch1x1(x), *parted, self.branch_pool(self.pool(x))], dim=1)
