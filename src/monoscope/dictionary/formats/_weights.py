"""Foreign tensors: safetensors, NumPy's ``.npz`` and torch's ``.pt``, from anyone.

Sizes are checked against the file's own before anything is read, so memory stays in proportion to the file; nothing is
unpickled but through ``torch.load(weights_only=True)``, and that only after a look at what the pickle would call.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor

from monoscope.errors import MonoscopeError

SUFFIXES = (".safetensors", ".npz", ".pt")
NUMBERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
DEFLATED = 4  # times smaller at most: weights hardly compress, bombs do
PICKLE = 16 * 2**20
CALLED = {
    "collections OrderedDict",
    "torch Size",
    "torch device",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16", "Int", "Long", "Bool")),
}


class Weights:
    """Named tensors of a file. Whoever has taken what it knows calls ``done``, which refuses the rest."""

    def __init__(self, held: Mapping[str, Any], where: str) -> None:
        self.held, self.where = dict(held), where

    def __contains__(self, name: str) -> bool:
        return name in self.held

    def tensor(self, name: str, *shape: int | None) -> Float[Tensor, ...]:
        """The tensor ``name`` as fp32, of this shape (None: any length of at least 1).

        Raises:
            MonoscopeError: missing, of another shape, no floating-point numbers, or not finite.
        """
        value = self._take(name)
        if value.ndim != len(shape) or any(
            have < 1 or have != (want or have) for have, want in zip(value.shape, shape)
        ):
            wanted = " × ".join("any" if n is None else str(n) for n in shape) or "a single number"
            raise self.error(f"{name} is of shape {tuple(value.shape)}, not {wanted}")
        if value.dtype not in NUMBERS:
            raise self.error(f"{name} holds {str(value.dtype).removeprefix('torch.')}, not floating-point numbers")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise self.error(f"{name} claims more numbers than the file holds")
        value = value.detach().float()
        if not bool(torch.isfinite(value).all()):
            raise self.error(f"{name} is not finite")
        return value

    def number(self, name: str) -> float:
        """The single floating-point number ``name``."""
        return float(self.tensor(name))

    def integer(self, name: str) -> int:
        """The single integer ``name``."""
        value = self._take(name)
        if value.ndim or value.dtype not in (torch.int32, torch.int64):
            raise self.error(f"{name} is no single integer")
        return int(value)

    def ignore(self, *names: str) -> None:
        """Leave out what does not touch what the dictionary computes."""
        for name in names:
            self.held.pop(name, None)

    def done(self) -> None:
        """Refuse tensors that nobody took: a dictionary without them would compute something else."""
        if self.held:
            raise self.error(f"holds {sorted(map(str, self.held))[0][:60]!r}, which is not understood")

    def error(self, what: str) -> MonoscopeError:
        """An error about this file."""
        return MonoscopeError(what, where=self.where, fix="take the file from its source again, or convert it there")

    def _take(self, name: str) -> Tensor:
        if name not in self.held:
            raise self.error(f"{name} is missing")
        value = self.held.pop(name)
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta or value.is_quantized:
            raise self.error(f"{name} is no plain tensor")
        return value


def files(path: Path, suffix: str) -> list[Path]:
    """The files with this suffix: ``path`` itself, or those directly in it."""
    if path.is_file():
        return [path] if path.suffix == suffix else []
    return sorted(p for p in path.iterdir() if p.suffix == suffix and p.is_file()) if path.is_dir() else []


def holding(path: Path, suffix: str, *wanted: Collection[str]) -> Path | None:
    """The one file with this suffix at ``path`` that holds all names of one of the sets; None without or with two."""
    found = [p for p in files(path, suffix) if any(set(names) <= names_in(p) for names in wanted)]
    return found[0] if len(found) == 1 else None


def names_in(path: Path) -> set[str]:
    """The names of what a file holds (of a pickle: all its strings); none of a file that cannot be read."""
    try:
        return _READERS[path.suffix][0](path)
    except MonoscopeError:
        return set()


def load(path: Path) -> Weights:
    """What a file holds.

    Raises:
        MonoscopeError: the file is damaged, or larger inside than out, or its pickle would call something.
    """
    return Weights(_READERS[path.suffix][1](path), str(path))


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors to be written: whole in memory, none a part of a larger one or another by a second name.

    Of a prefix's weights nothing else is then written, and tied weights are two tensors, as a file has them.
    """
    made, seen = {}, set()
    for name, tensor in tensors.items():
        value = tensor.detach().contiguous()
        memory = value.untyped_storage()
        if memory.data_ptr() in seen or memory.nbytes() > value.numel() * value.element_size():
            value = value.clone()
        seen.add(value.untyped_storage().data_ptr())
        made[name] = value
    return made


def _damaged(path: Path, error: Exception | str) -> MonoscopeError:
    detail = str(error).strip().split("\n")[0][:200] or type(error).__name__
    return MonoscopeError(
        f"{path.name} is damaged or no file of its kind: {detail}",
        where=str(path),
        fix="take the file from its source again",
    )


def _safetensors_names(path: Path) -> set[str]:
    try:
        with safe_open(path, framework="pt") as file:
            return set(file.keys())
    except Exception as error:  # whatever a parser of foreign bytes raises means that they are damaged
        raise _damaged(path, error) from error


def _safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise _damaged(path, error) from error


def _npz_names(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as file:
            return {name.removesuffix(".npy") for name in file.namelist()}
    except Exception as error:
        raise _damaged(path, error) from error


def _npz(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            _fits(path, members, DEFLATED)
            return {m.filename.removesuffix(".npy"): _array(path, file, m) for m in members}
    except MonoscopeError:
        raise
    except Exception as error:
        raise _damaged(path, error) from error


def _fits(path: Path, members: list[zipfile.ZipInfo], times: int) -> None:
    """Refuse an archive that is larger inside than ``times`` its own size, or that names one thing twice."""
    if sum(m.file_size for m in members) > times * path.stat().st_size:
        raise _damaged(path, "larger inside than its size allows")
    if len({m.filename for m in members}) < len(members):
        raise _damaged(path, "one name twice")


def _array(path: Path, file: zipfile.ZipFile, member: zipfile.ZipInfo) -> Tensor:
    with file.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(stream)
        if dtype.kind not in "fiu" or not dtype.isnative or dtype.itemsize > 8:
            raise _damaged(path, f"{member.filename} holds {dtype}")
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=1) < 0 or size > member.file_size:
            raise _damaged(path, f"{member.filename} claims {size:,} bytes")
        data = stream.read(size)
        if len(data) != size or stream.read(1):
            raise _damaged(path, f"{member.filename} does not hold what it claims")
    return torch.from_numpy(np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if fortran else "C"))


def _pickle_names(path: Path) -> set[str]:
    return {argument for _, argument in _opcodes(path) if isinstance(argument, str)}


def _pickle(path: Path) -> dict[str, Any]:
    for opcode, argument in _opcodes(path):
        if opcode in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4", "OBJ") or (
            opcode == "GLOBAL" and argument not in CALLED
        ):
            raise MonoscopeError(
                f"{path.name} would run {argument or opcode} when it is unpickled, so it is not",
                where=str(path),
                fix="convert it to safetensors where you trust it",
            )
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _damaged(path, error) from error
    if not isinstance(held, dict) or not all(isinstance(name, str) for name in held):
        raise _damaged(path, "it holds no named tensors")
    return held


def _opcodes(path: Path) -> list[tuple[str, Any]]:
    """What the pickle inside a ``.pt`` archive would do, read without doing it."""
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            if any(m.compress_type != zipfile.ZIP_STORED for m in members):
                raise _damaged(path, "compressed, which torch never does")
            _fits(path, members, 1)
            pickles = [m for m in members if m.filename.endswith("data.pkl")]
            if len(pickles) != 1 or pickles[0].file_size > PICKLE:
                raise _damaged(path, "no single pickle in it, or too large a one")
            found = pickletools.genops(file.read(pickles[0]))
            return [(opcode.name, argument) for opcode, argument, _ in found]
    except MonoscopeError:
        raise
    except Exception as error:
        raise _damaged(path, error) from error


_READERS = {
    ".safetensors": (_safetensors_names, _safetensors),
    ".npz": (_npz_names, _npz),
    ".pt": (_pickle_names, _pickle),
}
