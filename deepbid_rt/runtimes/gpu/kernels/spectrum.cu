// The correlation of a frame with the reference, around shift 0 alone: discrete Fourier transforms as matrix products,
// which at 256 x 256 cost no more than reading the images, and need no library.
// The numpy truth: deepbid_rt/stabilizer.py.
#include "block.cuh"

__device__ inline int half_of(const Stabilizer &s) { return s.width / 2 + 1; }

// Mean of the views, of the channels, the sums of one line, and its part of the crop. Grid: (Y).
extern "C" __global__ void average(const Frame frame, const Stabilizer s) {
    const int row = blockIdx.x;
    const size_t size = static_cast<size_t>(frame.rows) * frame.columns;
    const auto mean_of_views = [&](int channel, size_t place) {
        const float *units = frame.units + channel * frame.views * size + place;
        return frame.views == 1 ? units[0] : (units[0] + units[size]) * 0.5f;
    };
    const auto mean_of_all = [&](int y, int x) {
        float total = 0.0f;
        for (int c = 0; c < frame.channels; c++) total += mean_of_views(c, static_cast<size_t>(y) * frame.columns + x);
        return total / frame.channels;
    };
    double sums[3] = {0.0, 0.0, 0.0};
    for (int x = threadIdx.x; x < frame.columns; x += THREADS) {
        const size_t place = static_cast<size_t>(row) * frame.columns + x;
        for (int c = 0; c < frame.channels; c++) frame.mean[c * size + place] = mean_of_views(c, place);
        const float value = mean_of_all(row, x);
        frame.together[place] = value;
        sums[0] += value;
        if (row > 0) sums[1] += fabsf(value - mean_of_all(row - 1, x));
    }
    const int line = row < s.top ? -1 : (row - s.top) / s.pitch;  // of the crop
    const bool begins_line = !s.still && line >= 0 && line < s.height && (row - s.top) % s.pitch == 0;
    for (int column = threadIdx.x; begins_line && column < s.width; column += THREADS) {
        const int x = s.left + column * s.pitch;
        float value = mean_of_all(row, x);
        if (s.pitch == 2) {
            const float left = value + mean_of_all(row + 1, x);
            value = (left + (mean_of_all(row, x + 1) + mean_of_all(row + 1, x + 1))) * 0.25f;
        }
        value = isfinite(value) ? value : 0.0f;
        s.crop[line * s.width + column] = value;
        sums[2] += value;
    }
    sum_block(sums);
    if (threadIdx.x == 0) {
        s.line_sums[2 * row] = sums[0];
        s.line_sums[2 * row + 1] = sums[1];
        if (begins_line) s.crop_sums[line] = sums[2];
    }
}

// Transform each line of the crop, tapered and without its mean. Grid: tiles of (half, height).
extern "C" __global__ void transform_lines(const Stabilizer s) {
    double sums[1] = {0.0};
    for (int y = number_of_thread(); y < s.height; y += THREADS) sums[0] += s.crop_sums[y];
    sum_block(sums);
    const float mean = sums[0] / (static_cast<double>(s.height) * s.width);
    const auto image = [&](int y, int x) {
        const int place = y * s.width + x;
        return make_float2((s.crop[place] - mean) * s.taper[place], 0.0f);
    };
    const auto wave = [&](int x, int frequency) { return s.waves_x[x * frequency % s.width]; };
    const float2 value = element_of_product(s.height, s.width, half_of(s), image, wave);
    const int y = blockIdx.y * TILE + threadIdx.y, frequency = blockIdx.x * TILE + threadIdx.x;
    if (y < s.height && frequency < half_of(s)) s.sweep[y * half_of(s) + frequency] = value;
}

// Transform along columns what `transform_lines` left: the spectrum. Grid: tiles of (half, height).
extern "C" __global__ void transform_columns(const Stabilizer s) {
    const auto wave = [&](int frequency, int y) { return s.waves_y[frequency * y % s.height]; };
    const auto swept = [&](int y, int across) { return s.sweep[y * half_of(s) + across]; };
    const float2 value = element_of_product(s.height, s.height, half_of(s), wave, swept);
    const int frequency = blockIdx.y * TILE + threadIdx.y, across = blockIdx.x * TILE + threadIdx.x;
    if (frequency < s.height && across < half_of(s)) s.spectrum[frequency * half_of(s) + across] = value;
}

// Transform the cross spectrum back along columns, for the shifts up to the farthest. Grid: tiles of (half, shifts).
extern "C" __global__ void correlate_columns(const Stabilizer s) {
    const int shifts = 2 * s.far_y + 1;
    float largest = 0.0f;
    int nowhere = 0;
    for (int y = number_of_thread(); y < s.height; y += THREADS) largest = fmaxf(largest, s.amplitudes[y]);
    find_largest(largest, nowhere);
    const float least = 1e-6f * largest + 1.17549435e-38f;  // so that nothing is divided by 0
    const auto wave = [&](int shift, int frequency) {
        const int turn = (shift - s.far_y) * frequency % s.height;
        return conjugate(s.waves_y[turn < 0 ? turn + s.height : turn]);
    };
    const auto cross = [&](int frequency, int across) {
        const int place = frequency * half_of(s) + across;
        const float2 reference = s.reference[place];
        const float weight = s.band[place] / (sqrtf(hypotf(reference.x, reference.y)) + least);
        const float2 product = times(s.spectrum[place], conjugate(reference));
        return make_float2(product.x * weight, product.y * weight);
    };
    const float2 value = element_of_product(shifts, s.height, half_of(s), wave, cross);
    const int shift = blockIdx.y * TILE + threadIdx.y, across = blockIdx.x * TILE + threadIdx.x;
    if (shift < shifts && across < half_of(s)) s.sweep[shift * half_of(s) + across] = value;
}

// Transform along lines what `correlate_columns` left: the correlation. Grid: tiles of (shifts, shifts).
extern "C" __global__ void correlate_lines(const Stabilizer s) {
    const int shifts_y = 2 * s.far_y + 1, shifts_x = 2 * s.far_x + 1;
    const auto swept = [&](int shift, int across) {
        const float2 value = s.sweep[shift * half_of(s) + across];
        const float twice = across == 0 || 2 * across == s.width ? 1.0f : 2.0f;  // stands for its mirror image too
        return make_float2(twice * value.x, twice * value.y);
    };
    const auto wave = [&](int across, int shift) {
        const int turn = (shift - s.far_x) * across % s.width;
        return conjugate(s.waves_x[turn < 0 ? turn + s.width : turn]);
    };
    const float2 value = element_of_product(shifts_y, half_of(s), shifts_x, swept, wave);
    const int y = blockIdx.y * TILE + threadIdx.y, x = blockIdx.x * TILE + threadIdx.x;
    if (y < shifts_y && x < shifts_x) s.near[y * shifts_x + x] = value.x / (static_cast<float>(s.height) * s.width);
}

// Let the frame enter the reference, and move it with the origin. Grid: (height).
extern "C" __global__ void follow_reference(const Stabilizer s) {
    const int frequency = blockIdx.x, half = half_of(s);
    const bool tracked = s.state->verdict == TRACKED, begins = s.state->verdict == RESTARTED;
    const bool moves = s.state->step_y != 0.0 || s.state->step_x != 0.0;
    if (!tracked && !begins && !moves) return;
    const float gain = s.state->gain;
    const float2 *steps = s.turns + s.height + half;
    float largest = 0.0f;
    int nowhere = 0;
    for (int across = threadIdx.x; across < half; across += THREADS) {
        const int place = frequency * half + across;
        float2 value = begins ? s.spectrum[place] : s.reference[place];
        if (tracked) {
            const float2 turn = times(s.turns[frequency], s.turns[s.height + across]);
            const float2 aligned = times(s.spectrum[place], turn);
            value.x += gain * (aligned.x - value.x);
            value.y += gain * (aligned.y - value.y);
        }
        if (moves) value = times(value, times(steps[frequency], steps[s.height + across]));
        s.reference[place] = value;
        largest = fmaxf(largest, sqrtf(hypotf(value.x, value.y)));
    }
    find_largest(largest, nowhere);
    if (threadIdx.x == 0) s.amplitudes[frequency] = largest;
}
