"""A numpy array in, a denoised array of the same shape and type out."""

import numpy as np

import deepbid_rt as rt

# A bright spot that blinks on a dim background, with photon noise: (T, Y, X).
y, x = np.mgrid[:96, :96]
spot = np.exp(-((y - 40) ** 2 + (x - 56) ** 2) / 50)
brightness = 1 + np.sin(np.arange(60) / 5)
clean = 2 + 10 * brightness[:, None, None] * spot
noisy = np.random.default_rng(0).poisson(clean).astype("uint16")

denoised = rt.denoise(noisy, engine="default", rate_hz=30.0)

error_before = np.mean((noisy - clean) ** 2)
error_after = np.mean((denoised - clean) ** 2)
print(f"{noisy.shape} {noisy.dtype} -> {denoised.shape} {denoised.dtype}")
print(f"mean squared error {error_before:.2f} -> {error_after:.2f} counts^2")
