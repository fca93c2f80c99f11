// Where lines lie: how strips share in them, and what that means in the memory.
#pragma once
#include "block.cuh"

// The share of a strip's shift in that of a line: linear between the middles of strips.
__device__ inline double hat(int strip, int line, int lines) {
    const double place = fmin(fmax((line + 0.5) * STRIPS / lines - 0.5, 0.0), STRIPS - 1.0);
    return fmax(0.0, 1.0 - fabs(place - strip));
}

// The shift of a line along one axis, from those of the strips, `stride` numbers apart.
__device__ inline double shift_of_line(const double *strips, int stride, int line, int lines) {
    const double place = fmin(fmax((line + 0.5) * STRIPS / lines - 0.5, 0.0), STRIPS - 1.0);
    const int first = min(static_cast<int>(place), STRIPS - 2);
    const double *strip = strips + first * stride;
    return hat(first, line, lines) * strip[0] + hat(first + 1, line, lines) * strip[stride];
}

__device__ inline Line place_of_line(int line, double dy, double dx, double margin) {
    const double down = margin - dy, right = margin - dx;
    const double top = floor(down), left = floor(right);
    Line place;
    place.top = line + static_cast<int>(top);
    place.left = static_cast<int>(left);
    place.down = down - top;
    place.right = right - left;
    place.row = line + static_cast<int>(margin - floor(dy + 0.5));
    place.column = static_cast<int>(margin - floor(dx + 0.5));
    return place;
}
