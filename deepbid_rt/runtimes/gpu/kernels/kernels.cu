// All kernels as one program: what tools/make_kernels.py compiles.
#include "frame.cu"
#include "line_shifts.cu"
#include "memory.cu"
#include "spectrum.cu"
#include "stabilizer.cu"
