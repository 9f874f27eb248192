"""Stored pixel values of one frame at a time, of images and of segmentations (PS3.5 8, PS3.3 C.7.6.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from service.errors import InputError
from service.read.part10 import UNREADABLE, Item, open_part10, quiet, unreadable

_NATIVE = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian})
_PIXEL_DATA = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
#: Rows × Columns beyond which nothing is allocated: a header can claim anything
_LARGEST_FRAME = 1 << 26
_BITS_PER_BYTE = 8

#: decoders say OSError, too, where the data are broken
_DECODING_ERRORS = (*UNREADABLE, RuntimeError, ImportError, OSError)


@dataclass(slots=True)
class PixelData:
    """The pixel data of a file, read frame by frame; ``rows`` and ``columns`` are in pixels.

    Only one sample per pixel: what is measured here is never in colour.
    """

    path: Path
    name: str
    rows: int
    columns: int
    frames: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    syntax: str
    #: where the value of Pixel Data begins in the file, and its length; None: encapsulated
    offset: int
    length: int | None
    _encoded: list[bytes] = field(default_factory=list)

    def frame(self, index: int) -> NDArray[np.generic]:
        """Return stored values of frame ``index`` (from 0), shape (rows, columns).

        Raises
        ------
        InputError
            There is no such frame, the file is too short, or nothing here can decode it.
        StoreUnavailable
            The file cannot be read.
        """
        if not 0 <= index < self.frames:
            msg = f"{self.name} has no frame {index + 1}: it has {self.frames}"
            raise InputError(msg)
        return self._decoded(index) if self.length is None else self._native(index)

    def _native(self, index: int) -> NDArray[np.generic]:
        pixels = self.rows * self.columns
        first_bit = index * pixels * self.bits_allocated
        end_bit = first_bit + pixels * self.bits_allocated
        first, end = first_bit // _BITS_PER_BYTE, -(-end_bit // _BITS_PER_BYTE)
        if self.length is not None and end > self.length:
            msg = f"{self.name} has too little pixel data: {self.length} bytes, frame {index + 1} ends at {end}"
            raise InputError(msg)
        raw = self._read(self.offset + first, end - first)
        if self.bits_allocated == 1:
            # frames follow each other without padding, so one may begin within a byte (PS3.5 8.1.1)
            bits = np.unpackbits(raw, bitorder="little")
            skip = first_bit - first * _BITS_PER_BYTE
            return bits[skip : skip + pixels].reshape(self.rows, self.columns)
        order = ">" if self.syntax == ExplicitVRBigEndian else "<"
        kind = f"{order}{'i' if self.signed else 'u'}{self.bits_allocated // _BITS_PER_BYTE}"
        return self._used_bits(raw.view(kind)).reshape(self.rows, self.columns)

    def _used_bits(self, values: NDArray[Any]) -> NDArray[Any]:
        # the bits above Bits Stored may hold overlays (retired, still seen)
        unused = self.bits_allocated - self.bits_stored
        if not unused:
            return values
        native = values.astype(values.dtype.newbyteorder("="))
        result: NDArray[Any] = (native << unused) >> unused if self.signed else native & ((1 << self.bits_stored) - 1)
        return result

    def _read(self, offset: int, length: int) -> NDArray[np.uint8]:
        try:
            with self.path.open("rb") as stream:
                stream.seek(offset)
                raw = np.fromfile(stream, np.uint8, length)
        except OSError as error:
            raise unreadable(self.name, error) from error
        if raw.size < length:
            msg = f"{self.name} ends before its pixel data does"
            raise InputError(msg)
        return raw

    def _decoded(self, index: int) -> NDArray[np.generic]:
        try:
            with quiet():
                self._encoded = self._encoded or list(generate_frames(self._read_all(), number_of_frames=self.frames))
                decoder = get_decoder(pydicom.uid.UID(self.syntax))
                values, _ = decoder.as_array(
                    encapsulate([self._encoded[index]], has_bot=False),
                    raw=True,
                    rows=self.rows,  # type: ignore[arg-type] # pydicom annotates the mapping, not its values
                    columns=self.columns,  # type: ignore[arg-type]
                    number_of_frames=1,  # type: ignore[arg-type]
                    samples_per_pixel=1,  # type: ignore[arg-type]
                    photometric_interpretation="MONOCHROME2",  # type: ignore[arg-type]
                    pixel_representation=int(self.signed),  # type: ignore[arg-type]
                    bits_allocated=self.bits_allocated,  # type: ignore[arg-type]
                    bits_stored=self.bits_stored,  # type: ignore[arg-type]
                    pixel_keyword="PixelData",  # type: ignore[arg-type]
                )
        except _DECODING_ERRORS as error:
            msg = f"{self.name} cannot be decoded here (transfer syntax {self.syntax}): install a decoder, or send it uncompressed"
            raise InputError(msg) from error
        return values

    def _read_all(self) -> bytes:
        try:
            with self.path.open("rb") as stream:
                stream.seek(self.offset)
                return stream.read()
        except OSError as error:
            raise unreadable(self.name, error) from error


def open_pixels(path: Path, *, name: str) -> tuple[Item, PixelData]:
    """Parse a file up to its pixel data, which stays in the file.

    Parameters
    ----------
    path:
        A DICOM file (PS3.10).
    name:
        What error messages call it.

    Returns
    -------
    dataset, pixels:
        The whole header, and access to the pixel data.

    Raises
    ------
    InputError
        No DICOM file, one without pixel data, or with pixel data that nothing here measures on (colour, floating point, deflated).
    StoreUnavailable
        The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            meta, dataset = open_part10(stream, name=name)
            syntax = meta.text("TransferSyntaxUID") or ImplicitVRLittleEndian
            if syntax == DeflatedExplicitVRLittleEndian:
                msg = f"{name} is deflated, and its pixels are not read: send it uncompressed"
                raise InputError(msg)
            offset, length = _element(stream, name, syntax)
    except OSError as error:
        raise unreadable(name, error) from error
    rows, columns = dataset.integer("Rows") or 0, dataset.integer("Columns") or 0
    allocated = dataset.integer("BitsAllocated") or 0
    stored = dataset.integer("BitsStored") or allocated
    if not 0 < rows * columns <= _LARGEST_FRAME or allocated not in {1, 8, 16, 32} or not 0 < stored <= allocated:
        msg = f"{name} has no usable image: {rows} rows, {columns} columns, {allocated} bits allocated"
        raise InputError(msg)
    if (dataset.integer("SamplesPerPixel") or 1) != 1:
        msg = f"{name} is in colour: nothing is measured on it"
        raise InputError(msg)
    return dataset, PixelData(
        path=path,
        name=name,
        rows=rows,
        columns=columns,
        frames=max(1, dataset.integer("NumberOfFrames") or 1),
        bits_allocated=allocated,
        bits_stored=stored,
        signed=dataset.integer("PixelRepresentation") == 1,
        syntax=syntax,
        offset=offset,
        length=None if length == _UNDEFINED else length,
    )


def _element(stream: BinaryIO, name: str, syntax: str) -> tuple[int, int]:
    """Return where the value of Pixel Data begins and how long it is; the stream stands at the element."""
    order: Literal["big", "little"] = "big" if syntax == ExplicitVRBigEndian else "little"
    head = stream.read(12)
    group, element = (int.from_bytes(head[i : i + 2], order) for i in (0, 2))
    if group << 16 | element != _PIXEL_DATA:
        msg = f"{name} has no pixel data"
        raise InputError(msg)
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    length = int.from_bytes(head[8:12] if explicit else head[4:8], order)
    if length == _UNDEFINED and syntax in _NATIVE:
        msg = f"{name} has encapsulated pixel data, but its transfer syntax says otherwise"
        raise InputError(msg)
    return stream.tell() - (0 if explicit else 4), length
