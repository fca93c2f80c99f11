// How far each strip of lines lies off the rigid shift of its frame, by four steps of Gauss and Newton.
// The numpy truth: deepbid_rt/line_shifts.py. Nothing is done unless the frame was tracked.
#include "places.cuh"

constexpr int UNKNOWNS = 2 * STRIPS;
constexpr int PRODUCTS = 6;  // yy, yx, xx, y, x, and the square of the smoother slope

// What the slowest memory has of the frame, at the nearest whole pixel, and what the frame is off it. Grid: (Y).
extern "C" __global__ void compare(const Frame frame, const LineShifts shifts, const Memory memory) {
    if (shifts.state->verdict != TRACKED) return;
    const int row = memory.margin + blockIdx.x - static_cast<int>(rint(shifts.state->place_y));
    const int left = memory.margin - static_cast<int>(rint(shifts.state->place_x));
    const size_t size = static_cast<size_t>(memory.height) * memory.width;
    const bool line_is_known = within(row, 1, memory.height - 3);
    double sums[2] = {0.0, 0.0};
    for (int x = threadIdx.x; x < frame.columns; x += THREADS) {
        const size_t here = static_cast<size_t>(blockIdx.x) * frame.columns + x;
        const int column = left + x;
        const size_t place = static_cast<size_t>(row) * memory.width + column;
        const float *weights = memory.weights + (memory.depth - 1) * size;
        const bool known = line_is_known && within(column, 1, memory.width - 3) && weights[place] > 0;
        float remembered = frame.together[here];
        const float seen = remembered;
        if (known) {
            float total = 0.0f;
            for (int c = 1; c <= frame.channels; c++) total += memory.means[(c * memory.depth - 1) * size + place];
            remembered = total / frame.channels;
        }
        shifts.remembered[here] = remembered;
        const float difference = seen - remembered;
        sums[0] += difference;
        sums[1] += static_cast<double>(difference) * difference;
    }
    sum_block(sums);
    if (threadIdx.x == 0)
        for (int n = 0; n < 2; n++) shifts.differences[2 * blockIdx.x + n] = sums[n];
}

// Halve both pictures and smooth them, at both resolutions. Grid: (columns in THREADS, rows, coarse and fine pairs).
extern "C" __global__ void smooth(const Frame frame, const LineShifts shifts, const Level coarse, const Level fine) {
    if (shifts.state->verdict != TRACKED) return;
    const Level level = blockIdx.z < 2 ? coarse : fine;
    const bool second = blockIdx.z % 2;
    const float *picture = second ? shifts.remembered : frame.together;
    const int x = blockIdx.x * THREADS + threadIdx.x, y = blockIdx.y, side = 1 << level.halvings;
    if (x >= level.columns || y >= level.rows) return;
    float total = 0.0f;
    for (int i = -1; i <= 1; i++) {
        for (int j = -1; j <= 1; j++) {
            const int row = clamped(y + i, 0, level.rows - 1) * side;
            const int column = clamped(x + j, 0, level.columns - 1) * side;
            float block = 0.0f;
            for (int n = 0; n < side * side; n++)
                block += picture[static_cast<size_t>(row + n / side) * frame.columns + column + n % side];
            total += (i ? 0.25f : 0.5f) * (j ? 0.25f : 0.5f) * block;
        }
    }
    (second ? level.remembered : level.image)[y * level.columns + x] = total / (side * side);
}

// A pixel of what is remembered where a line lies, bilinear; outermost pixels count as repeated.
__device__ float moved(const Level &level, const Line &line, int column) {
    const float *upper = level.remembered + clamped(line.top, 0, level.rows - 1) * level.columns;
    const float *lower = level.remembered + clamped(line.top + 1, 0, level.rows - 1) * level.columns;
    const int left = clamped(line.left + column, 0, level.columns - 1);
    const int right = clamped(line.left + column + 1, 0, level.columns - 1);
    const float before = upper[left] + line.down * (lower[left] - upper[left]);
    const float after = upper[right] + line.down * (lower[right] - upper[right]);
    return before + line.right * (after - before);
}

// Products of the slopes of what is expected and of the change, summed over one line. Grid: (rows).
extern "C" __global__ void measure_slopes(const LineShifts shifts, const Level level) {
    if (shifts.state->verdict != TRACKED) return;
    __shared__ Line lines[3];  // the one above, this one, and the one below
    __shared__ float expected[3][THREADS + 4];
    const int y = blockIdx.x, wide = THREADS + 4;
    const double pitch = 1 << level.halvings;
    const float half = 0.5 / pitch;
    if (threadIdx.x < 3) {
        const int line = clamped(y - 1 + static_cast<int>(threadIdx.x), 0, level.rows - 1);
        const double dy = shift_of_line(shifts.strips, 2, line, level.rows) / pitch;
        const double dx = shift_of_line(shifts.strips + 1, 2, line, level.rows) / pitch;
        lines[threadIdx.x] = place_of_line(line, dy, dx, 0.0);
    }
    __syncthreads();
    float sums[PRODUCTS] = {};
    for (int first = 0; first < level.columns; first += THREADS) {
        for (int n = threadIdx.x; n < 3 * wide; n += THREADS) {
            const int row = n / wide, column = clamped(first - 2 + n % wide, 0, level.columns - 1);
            expected[row][n % wide] = moved(level, lines[row], column);
        }
        __syncthreads();
        const int x = first + threadIdx.x;
        const auto slope_x = [&](int row, int column) {
            column = clamped(column, 0, level.columns - 1);
            const float *around = expected[row] + column - first + 2;
            return within(column, 1, level.columns - 2) ? half * (around[-1] - around[1]) : 0.0f;
        };
        if (x < level.columns) {
            const float *column = expected[0] + threadIdx.x + 2;
            const float down = within(y, 1, level.rows - 2) ? half * (column[0] - column[2 * wide]) : 0.0f;
            const float across = slope_x(1, x);
            const float change = level.image[y * level.columns + x] - column[wide];
            float smoother = 0.0f;
            for (int row = 0; row < 3; row++)
                smoother += (row == 1 ? 0.5f : 0.25f) *
                            (0.25f * (slope_x(row, x - 1) + slope_x(row, x + 1)) + 0.5f * slope_x(row, x));
            const float products[PRODUCTS] = {down * down,   down * across,   across * across,
                                              change * down, change * across, smoother * smoother};
            for (int n = 0; n < PRODUCTS; n++) sums[n] += products[n];
        }
        __syncthreads();
    }
    double totals[PRODUCTS];
    for (int n = 0; n < PRODUCTS; n++) totals[n] = sums[n];
    sum_block(totals);
    if (threadIdx.x == 0)
        for (int n = 0; n < PRODUCTS; n++) shifts.sums[PRODUCTS * y + n] = totals[n];
}

// Sum of one product over the lines of a strip, each by its share.
__device__ double sum_of_strip(const LineShifts &shifts, int strip, int product, int lines) {
    const int first = max((2 * strip - 1) * lines / UNKNOWNS - 2, 0);
    const int last = min((2 * strip + 3) * lines / UNKNOWNS + 2, lines);
    double total = 0.0;
    for (int y = first; y < last; y++) total += hat(strip, y, lines) * shifts.sums[PRODUCTS * y + product];
    return total;
}

// Invert a positive definite matrix where it stands, by Gauss and Jordan. Called by all THREADS.
__device__ void invert(double (&matrix)[UNKNOWNS][UNKNOWNS + 1]) {
    constexpr int EACH = UNKNOWNS * UNKNOWNS / THREADS;
    for (int pivot = 0; pivot < UNKNOWNS; pivot++) {
        const double inverse = 1 / matrix[pivot][pivot];
        double fresh[EACH];
        for (int n = 0; n < EACH; n++) {
            const int place = n * THREADS + threadIdx.x, i = place / UNKNOWNS, j = place % UNKNOWNS;
            const double row = (j == pivot ? 1.0 : matrix[pivot][j]) * inverse;
            if (i == pivot)
                fresh[n] = row;
            else
                fresh[n] = (j == pivot ? 0.0 : matrix[i][j]) - matrix[i][pivot] * row;
        }
        __syncthreads();
        for (int n = 0; n < EACH; n++) {
            const int place = n * THREADS + threadIdx.x;
            matrix[place / UNKNOWNS][place % UNKNOWNS] = fresh[n];
        }
        __syncthreads();
    }
}

// The variance of the walk that is found in this frame: of the estimated steps, and of what is not known about them.
__device__ double found_variance(const double (&strips)[UNKNOWNS], const double (&covariance)[UNKNOWNS][UNKNOWNS + 1]) {
    double total = 0.0;
    for (int n = 0; n < UNKNOWNS - 2; n++) {
        const double step = strips[n + 2] - strips[n];
        total += step * step + covariance[n][n] + covariance[n + 2][n + 2] - 2 * covariance[n][n + 2];
    }
    return total / (UNKNOWNS - 2);
}

// Solve the equations of all strips; at the last step also say where the lines lie, and learn. Grid: 1.
extern "C" __global__ void solve(const Frame frame, const LineShifts shifts, const Level level) {
    State *state = shifts.state;
    if (state->verdict != TRACKED) return;
    __shared__ double matrix[UNKNOWNS][UNKNOWNS + 1], sums[5][STRIPS], pull[UNKNOWNS], strips[UNKNOWNS];
    const int thread = threadIdx.x;
    double totals[4] = {0.0, 0.0, 0.0, 0.0};  // differences, their squares, slopes, smoother slopes
    for (int y = thread; y < frame.rows; y += THREADS)
        for (int n = 0; n < 2; n++) totals[n] += shifts.differences[2 * y + n];
    for (int y = thread; y < level.rows; y += THREADS) {
        totals[2] += shifts.sums[PRODUCTS * y + 2];
        totals[3] += shifts.sums[PRODUCTS * y + 5];
    }
    sum_block(totals);
    const double pixels = static_cast<double>(frame.rows) * frame.columns, mean = totals[0] / pixels;
    const double noise = totals[1] / pixels - mean * mean;
    if (!(noise > 0)) return;  // the frame is what is remembered
    const double share = totals[2] > 0 ? fmax(totals[3] / totals[2], 1e-3) : 1.0;
    const double weight = (1 << 2 * level.halvings) / (noise * share);
    if (thread < 5 * STRIPS) {
        const int product = thread / STRIPS, strip = thread % STRIPS;
        sums[product][strip] = weight * sum_of_strip(shifts, strip, product, level.rows);
    }
    if (thread < UNKNOWNS) strips[thread] = shifts.strips[thread];
    __syncthreads();
    const double tie = 1 / state->variance;
    for (int n = thread; n < UNKNOWNS * UNKNOWNS; n += THREADS) {
        const int i = n / UNKNOWNS, j = n % UNKNOWNS, strip = i / 2;
        const int ties = strip == 0 || strip == STRIPS - 1 ? 1 : 2;
        double value = 0.0;
        if (i == j) value = shifts.tether + ties * tie;
        if (abs(i - j) == 2) value = -tie;
        if (strip == j / 2) value += sums[i % 2 + j % 2][strip];
        matrix[i][j] = value;
    }
    if (thread < UNKNOWNS) {
        double known = shifts.tether * strips[thread];
        if (thread >= 2) known += tie * (strips[thread] - strips[thread - 2]);
        if (thread < UNKNOWNS - 2) known += tie * (strips[thread] - strips[thread + 2]);
        pull[thread] = sums[3 + thread % 2][thread / 2] - known;
    }
    __syncthreads();
    invert(matrix);
    double place = 0.0;
    if (thread < UNKNOWNS) {
        double step = 0.0;
        for (int n = 0; n < UNKNOWNS; n++) step += matrix[thread][n] * pull[n];
        step = fmin(fmax(step, -shifts.step), shifts.step);
        place = fmin(fmax(strips[thread] + step, -shifts.limit), shifts.limit);
    }
    __syncthreads();
    if (thread < UNKNOWNS) shifts.strips[thread] = strips[thread] = place;
    __syncthreads();
    if (!level.last) return;
    const double off[2] = {state->place_y - rint(state->place_y), state->place_x - rint(state->place_x)};
    for (int y = thread; y < frame.rows; y += THREADS) {
        double at[2];
        for (int axis = 0; axis < 2; axis++) at[axis] = shift_of_line(strips + axis, 2, y, frame.rows) - off[axis];
        shifts.places[y] = place_of_line(y, state->place_y + at[0], state->place_x + at[1], shifts.margin);
    }
    if (thread < UNKNOWNS) shifts.note[4 + thread % 2 * STRIPS + thread / 2] = strips[thread] - off[thread % 2];
    if (thread == 0) {
        const double learned = shifts.variance_gain * (found_variance(strips, matrix) - state->variance);
        state->variance = fmax(state->variance + learned, shifts.least_variance);
    }
}
