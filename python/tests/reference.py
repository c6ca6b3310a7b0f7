"""The scheme once more, from docs/concepts/scheme.md alone: what the package is compared with."""

import hashlib
import hmac
import struct

import numpy as np


def hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    """Returns bytes of HKDF-SHA256 (RFC 5869), at most 32."""
    extracted = hmac.new(b"wmgen/v1", secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()[:length]


def g_values(secret: bytes, context: list[int], tokens: list[int], depth: int = 30) -> np.ndarray:
    """Returns the g-values of `synthid-sha256`, tokens by layers."""
    block_key = hkdf(secret, b"synthid-sha256/block-key/" + bytes([depth, len(context) + 1]), 32)
    rows = []
    for token in tokens:
        message = block_key + struct.pack(f"<{len(context) + 1}I", *context, token)
        word = int.from_bytes(hashlib.sha256(message).digest()[:8], "little")
        rows.append([word >> layer & 1 for layer in range(depth)])
    return np.array(rows)


def tournament(logits: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Returns the probabilities after a tournament of two competitors a match."""
    p = np.exp(logits.astype(np.float64) - logits.max())
    p /= p.sum()
    for layer in g.T:
        p *= 1 + layer - (p * layer).sum()
    return p
