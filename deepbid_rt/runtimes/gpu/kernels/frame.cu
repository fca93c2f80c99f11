// From a raw frame to views in network units, and from the network's answers to the pixels of a denoised frame.
// The numpy truth: deepbid_rt/views.py, normalize.py, line_alignment.py, scan.py.
#include "block.cuh"

__device__ float pixel_of(const Frame &frame, size_t place) {
    switch (frame.type) {
        case UINT8: return static_cast<const unsigned char *>(frame.raw)[place];
        case UINT16: return static_cast<const unsigned short *>(frame.raw)[place];
        case INT16: return static_cast<const short *>(frame.raw)[place];
        default: return static_cast<const float *>(frame.raw)[place];
    }
}

// How many of the frame's lines a view has: with an odd number, the direction of line 0 has one more.
__device__ int lines_of_view(const Frame &frame, int view) {
    if (frame.views == 1) return frame.lines;
    const bool has_line_0 = (view == 1) == (frame.first_backward == 0);
    return has_line_0 ? (frame.lines + 1) / 2 : frame.lines / 2;
}

// The raw line that a view shows at `row`. Where it has none, its last line, and without any that of the other view.
__device__ int line_of_view(const Frame &frame, int view, int row) {
    if (frame.views == 1) return row;
    const int lines = lines_of_view(frame, view);
    if (lines == 0) view = 1 - view;
    const int start = view == 1 ? frame.first_backward : 1 - frame.first_backward;
    return start + 2 * (lines ? min(row, lines - 1) : row);
}

__device__ float counts_at(const Frame &frame, size_t line, bool backward, int column) {
    const bool turned = backward && frame.turned;
    const size_t begin = line * frame.columns;
    if (!backward || !frame.aligned) return pixel_of(frame, begin + (turned ? frame.columns - 1 - column : column));
    float total = 0.0f;
    for (int k = 0; k < 4; k++) {
        const int place = k * frame.columns + column;
        const float weight = frame.source_weights[place];
        const int from = turned ? frame.columns - 1 - frame.sources[place] : frame.sources[place];
        if (weight != 0.0f) total += weight * pixel_of(frame, begin + from);  // what weighs nothing may be NaN
    }
    return total;
}

// Split a raw frame into views in image order, backward lines in their place, in network units. Grid: (Y, V, C).
extern "C" __global__ void unpack(const Frame frame) {
    const int row = blockIdx.x, view = blockIdx.y, channel = blockIdx.z;
    const int line = line_of_view(frame, view, row);
    const bool may_be_backward = frame.views == 2 || frame.turned || frame.aligned;
    const bool backward = may_be_backward && line % 2 == frame.first_backward;
    const float offset = frame.offset[channel], inverse = frame.inverse[channel];
    float *units = frame.units + (static_cast<size_t>(channel * frame.views + view) * frame.rows + row) * frame.columns;
    for (int x = threadIdx.x; x < frame.columns; x += THREADS) {
        const float counts = counts_at(frame, static_cast<size_t>(channel) * frame.lines + line, backward, x);
        const float value = (counts - offset) * inverse;
        units[x] = isfinite(value) ? value : 0.0f;
    }
}

__device__ void write_pixel(const Frame &frame, int channel, int line, int column, float counts) {
    const size_t place = (static_cast<size_t>(channel) * frame.merged_lines + line) * frame.columns + column;
    switch (frame.type) {  // an answer that is not a number becomes the least pixel; the excess tells the host
        case UINT8:
            static_cast<unsigned char *>(frame.image)[place] = fminf(fmaxf(rintf(counts), 0.0f), 255.0f);
            break;
        case UINT16:
            static_cast<unsigned short *>(frame.image)[place] = fminf(fmaxf(rintf(counts), 0.0f), 65535.0f);
            break;
        case INT16:
            static_cast<short *>(frame.image)[place] = fminf(fmaxf(rintf(counts), -32768.0f), 32767.0f);
            break;
        default: static_cast<float *>(frame.image)[place] = counts;
    }
}

// Map answers to counts, merge the views, round and clip; and sum what the answers are off by. Grid: (Y, C).
extern "C" __global__ void finish(const Frame frame) {
    const int row = blockIdx.x, channel = blockIdx.y;
    const size_t padded = static_cast<size_t>(frame.padded_height) * frame.padded_width;
    const size_t view_size = static_cast<size_t>(frame.rows) * frame.columns;
    const size_t padded_begin = static_cast<size_t>(row) * frame.padded_width;
    const size_t begin = static_cast<size_t>(row) * frame.columns;
    const float *answers = frame.answers + channel * frame.passes * padded + padded_begin;
    const float *units = frame.units + channel * frame.views * view_size + begin;
    const float offset = frame.offset[channel], scale = frame.scale[channel], bias = frame.bias[channel] * scale;
    const bool has[2] = {row < lines_of_view(frame, 0), row < lines_of_view(frame, frame.views - 1)};
    const int first_backward = frame.first_backward;
    double sums[1] = {0.0};
    for (int x = threadIdx.x; x < frame.columns; x += THREADS) {
        const float first = answers[x], last = answers[(frame.passes - 1) * padded + x];
        const bool each = frame.passes == frame.views;  // else one answer for both views, or two halves for one
        const float mean = each ? first : (first + last) * 0.5f;
        const float answer[2] = {mean, each ? last : mean};
        float counts[2];
        for (int view = 0; view < 2; view++) counts[view] = answer[view] * scale + offset - bias;
        for (int view = 0; view < frame.views; view++) sums[0] += answer[view] - units[view * view_size + x];
        if (frame.views == 1) {
            write_pixel(frame, channel, row, x, counts[0]);
        } else if (frame.merge == INTERLEAVE) {
            if (has[0]) write_pixel(frame, channel, 2 * row + 1 - first_backward, x, counts[0]);
            if (has[1]) write_pixel(frame, channel, 2 * row + first_backward, x, counts[1]);
        } else if (frame.merge == MEAN) {
            const float both = (counts[0] + counts[1]) * 0.5f;
            write_pixel(frame, channel, row, x, has[0] && has[1] ? both : counts[has[0] ? 0 : 1]);
        } else {
            const int view = frame.merge == FORWARD ? 0 : 1;
            if (has[view]) write_pixel(frame, channel, row, x, counts[view]);
        }
    }
    sum_block(sums);
    if (threadIdx.x == 0) frame.excess[channel * frame.rows + row] = sums[0];
}
