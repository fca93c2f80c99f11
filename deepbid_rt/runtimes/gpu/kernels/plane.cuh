// What the kernels of one plane are told, by value with every launch: addresses on the device, sizes and thresholds.
//
// `deepbid_rt/runtimes/gpu/kernel_arguments.py` fills these in, field by field in this order (compared by
// tests/test_gpu_kernels.py). Axes: C channels, V views of a frame, Y lines and X pixels of a view, M memories,
// N passes of the network per channel. Images are float32 in standard deviations of the noise unless said otherwise.
#pragma once

constexpr int STRIPS = 16;    // of lines with a shift of their own
constexpr int THREADS = 256;  // of every block
constexpr int PARTS = 16;     // threads that sum what all have
constexpr int TILE = 16;      // side of a block of matrix products
constexpr int MOST_LINES_OF_A_PLACE = 19;  // lines that can show one place of the memory

enum Verdict { HELD, TRACKED, FOREIGN, RESTARTED };
enum PixelType { UINT8, UINT16, INT16, FLOAT32 };
enum Merge { MEAN, FORWARD, BACKWARD, INTERLEAVE };

// What is known of the frames so far. All numbers, so that the host can set it with one copy.
struct State {
    double dy;  // of the last frame that was tracked, from the origin
    double dx;
    double known;  // 1 once there is a reference
    double tracked;
    double misfits;
    double seen;
    double mean;
    double deviation;
    double grain;
    double drift_y;
    double drift_x;
    double origin_y;
    double origin_x;
    double variance;  // of the walk from strip to strip
    double verdict;  // from here on: of the current frame
    double place_y;  // where it lies, from the origin before it moved
    double place_x;
    double step_y;  // by how much the origin moves after it
    double step_x;
    double gain;  // of the reference
};

// Where a line of the frame lies in the memory.
struct Line {
    int top;  // row and column of its first pixel, rounded down
    int left;
    float down;  // and how far beyond
    float right;
    int row;  // rounded to the nearest
    int column;
};

struct Frame {
    const void *raw;  // (C, lines, X), as scanned
    void *image;  // (C, merged_lines, X), in the same type
    const int *sources;  // (4, X): the pixels that each pixel of a backward line is made of
    const float *source_weights;  // (4, X)
    const float *offset;  // (C)
    const float *inverse;  // (C), of the scale
    const float *scale;  // (C)
    const float *bias;  // (C), network units
    float *units;  // (C, V, Y, X)
    float *mean;  // (C, Y, X), of the views
    float *together;  // (Y, X), of the channels
    const int *padded_rows;  // (padded_height): the line that stands there
    const int *padded_columns;  // (padded_width)
    float *given;  // (C, N, M + 3, padded_height, padded_width)
    const float *answers;  // (C, N, padded_height, padded_width)
    double *excess;  // (C, Y): sums of answers less what was given, over views and pixels
    int type;
    int channels;
    int lines;
    int rows;
    int columns;
    int views;
    int first_backward;  // number of the first backward line
    int aligned;  // whether backward lines are made of `sources`
    int turned;  // whether backward lines stand the wrong way round
    int passes;
    int merge;
    int merged_lines;
    int padded_height;
    int padded_width;
};

struct Stabilizer {
    State *state;
    Line *places;  // (Y)
    double *note;  // dy, dx, confidence, verdict, then the bends (2, STRIPS): what the host is told
    double *strips;  // (STRIPS, 2): where the search for bends begins
    double *line_sums;  // (Y, 2): of the pixels, of their differences from the line above
    double *crop_sums;  // (height)
    const float *taper;  // (height, width)
    const float *band;  // (height, half)
    const float2 *waves_y;  // (height): exp(-2 pi i n / height)
    const float2 *waves_x;  // (width)
    float *crop;  // (height, width): the middle of the frame
    float2 *sweep;  // (height, half): transformed along one axis
    float2 *spectrum;  // (height, half)
    float2 *reference;  // (height, half)
    float *amplitudes;  // (height): the largest of each line of the reference
    float *near;  // (2 * far_y + 1, 2 * far_x + 1): the correlation around shift 0
    float2 *turns;  // (2, height + half): what moves a spectrum back by the shift, and by the origin's step
    double confident;
    double locked;
    double patience;
    double reference_gain;
    double norm_gain;
    double jump;
    double jumps;
    double coarser;  // factor of the grain
    double drift_gain;
    double margin;
    int still;  // whether images are too small to be followed
    int pitch;
    int top;  // of the crop
    int left;
    int height;  // of the crop, in pitches
    int width;
    int far_y;  // farthest shift, in pitches
    int far_x;
};

struct LineShifts {
    State *state;
    Line *places;  // (Y)
    double *note;
    double *strips;  // (STRIPS, 2): shifts off the nearest whole pixel of the rigid shift, dy and dx
    float *remembered;  // (Y, X)
    double *differences;  // (Y, 2): sums of the difference from what is remembered, and of its square
    double *sums;  // (Y, 6): of each line, products yy, yx, xx, y, x, and the square of the smoother slope
    double step;
    double limit;
    double tether;
    double variance_gain;
    double least_variance;
    double margin;
};

// Both pictures at one resolution.
struct Level {
    float *image;  // (rows, columns)
    float *remembered;
    int rows;
    int columns;
    int halvings;
    int last;  // whether this is the last step of the search
};

struct Memory {
    const float *means;  // (C, M, Y + 2 margin, X + 2 margin)
    const float *weights;  // (M, ...)
    float *next_means;
    float *next_weights;
    const float *gains;  // (M)
    const float *ages;  // (M): what is left of a weight when frames are skipped
    int depth;
    int margin;
    int height;
    int width;
};
