// Exponential averages of all past frames, kept where the tissue is: recalled into the network's inputs, and updated.
// The numpy truth: deepbid_rt/memory.py and `deepbid_rt.past.inputs_of`.
#include "places.cuh"

// Weights of the four neighbours of a place `part` beyond the second (Catmull and Rom 1974).
__device__ inline void cubic(float part, float (&weights)[4]) {
    const float square = part * part, cube = square * part;
    weights[0] = square - 0.5f * (part + cube);
    weights[1] = 1.0f - 2.5f * square + 1.5f * cube;
    weights[2] = 0.5f * part + 2.0f * square - 1.5f * cube;
    weights[3] = 0.5f * (cube - square);
}

// Put together what the network is given: the view, its mask, the weight of the slowest memory, and all memories in
// the place of the tissue, the nearest pixel where a neighbour was not seen, the view itself where nothing is
// remembered. Grid: (padded height, C).
extern "C" __global__ void recall(const Frame frame, const Memory memory, const Stabilizer s) {
    const int row = frame.padded_rows[blockIdx.x], channel = blockIdx.y;
    const bool blank = s.state->verdict == FOREIGN || s.state->verdict == RESTARTED;
    const Line line = s.places[row];
    const size_t size = static_cast<size_t>(memory.height) * memory.width;
    const size_t view_size = static_cast<size_t>(frame.rows) * frame.columns;
    const size_t padded = static_cast<size_t>(frame.padded_height) * frame.padded_width;
    const int depth = memory.depth;
    float down[4], right[4];
    cubic(line.down, down);
    cubic(line.right, right);
    const bool line_is_known = !blank && within(line.top, 1, memory.height - 3);
    for (int across = threadIdx.x; across < frame.padded_width; across += THREADS) {
        const int x = frame.padded_columns[across], column = line.left + x;
        const size_t here = static_cast<size_t>(row) * frame.columns + x;
        const long long corner = (line.top - 1LL) * memory.width + column - 1;  // of the 16 places around
        const bool inside = line_is_known && within(column, 1, memory.width - 3);
        const float *slowest = memory.weights + (depth - 1) * size;
        const long long middle = corner + memory.width + 1;
        const long long nearest = middle + (line.down >= 0.5f) * memory.width + (line.right >= 0.5f);
        bool known = inside;
        for (int n = 0; known && n < 16; n++) {  // what counts for nothing need not be known
            const bool counts = down[n / 4] != 0.0f && right[n % 4] != 0.0f;
            known = !counts || slowest[corner + n / 4 * memory.width + n % 4] > 0.0f;
        }
        const bool near = inside && !known && slowest[nearest] > 0.0f;
        float views[2], masks[2] = {1.0f, 1.0f};
        for (int pass = 0; pass < frame.passes; pass++) {
            const bool each = frame.passes == frame.views;
            const int view = frame.views == 2 && each ? pass : 0;
            const float *from = frame.passes == 1 ? frame.mean + channel * view_size
                                                  : frame.units + (channel * frame.views + view) * view_size;
            if (frame.views == 1 && frame.passes == 2) masks[pass] = row % 2 == pass;  // even lines, then odd ones
            views[pass] = masks[pass] * from[here];
        }
        float *given = frame.given + channel * frame.passes * (depth + 3) * padded +
                       static_cast<size_t>(blockIdx.x) * frame.padded_width + across;
        const size_t next = (depth + 3) * padded;
        for (int pass = 0; pass < frame.passes; pass++) {
            given[pass * next] = views[pass];
            given[pass * next + padded] = masks[pass];
            given[pass * next + 2 * padded] = known ? slowest[middle] : near ? slowest[nearest] : 0.0f;
        }
        for (int m = 0; m < depth; m++) {
            const float *means = memory.means + (channel * depth + m) * size;
            float value = near ? means[nearest] : 0.0f;
            for (int j = 0; known && j < 4; j++) {
                float lines = 0.0f;
                for (int i = 0; right[j] != 0.0f && i < 4; i++)
                    if (down[i] != 0.0f) lines += down[i] * means[corner + i * memory.width + j];
                value += right[j] * lines;
            }
            for (int pass = 0; pass < frame.passes; pass++)
                given[pass * next + (3 + m) * padded] = known || near ? value : views[pass];
        }
    }
}

// Let the frame enter, and move with the origin: each place gathers the lines that show it, in their order, and
// writes to the other copy of the memory. Grid: (height, C).
extern "C" __global__ void update(const Frame frame, const Memory memory, const Stabilizer s) {
    __shared__ int entering[MOST_LINES_OF_A_PLACE], begins[MOST_LINES_OF_A_PLACE], count;
    const State *state = s.state;
    const bool foreign = state->verdict == FOREIGN, blank = state->verdict == RESTARTED;
    const int row = blockIdx.x - static_cast<int>(state->step_y), channel = blockIdx.y;
    // The rigid shift shows one line here; bends move others here, from up to half of all candidates away.
    if (threadIdx.x < MOST_LINES_OF_A_PLACE) {
        const int rigid = row - memory.margin + static_cast<int>(floor(state->place_y + 0.5));
        const int line = rigid + static_cast<int>(threadIdx.x) - MOST_LINES_OF_A_PLACE / 2;
        const bool enters = !foreign && within(line, 0, frame.rows - 1) && s.places[line].row == row;
        entering[threadIdx.x] = enters ? line : -1;
        begins[threadIdx.x] = enters ? s.places[line].column : 0;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        count = 0;
        for (int n = 0; n < MOST_LINES_OF_A_PLACE; n++) {
            if (entering[n] < 0) continue;
            entering[count] = entering[n];
            begins[count++] = begins[n];
        }
    }
    __syncthreads();
    const size_t size = static_cast<size_t>(memory.height) * memory.width;
    for (int across = threadIdx.x; across < memory.width; across += THREADS) {
        const int column = across - static_cast<int>(state->step_x);
        const bool inside = within(row, 0, memory.height - 1) && within(column, 0, memory.width - 1);
        const size_t from = static_cast<size_t>(row) * memory.width + column;
        const size_t to = static_cast<size_t>(blockIdx.x) * memory.width + across;
        for (int m = 0; m < memory.depth; m++) {
            const float gain = memory.gains[m];
            float weight = inside && !blank ? memory.weights[m * size + from] : 0.0f;
            float mean = weight > 0.0f ? memory.means[(channel * memory.depth + m) * size + from] : 0.0f;
            if (foreign) weight *= 1.0f - gain;
            for (int n = 0; inside && n < count; n++) {
                const int x = column - begins[n];
                if (!within(x, 0, frame.columns - 1)) continue;
                weight = weight * (1.0f - gain) + gain;
                const size_t pixel = (static_cast<size_t>(channel) * frame.rows + entering[n]) * frame.columns + x;
                mean += gain / weight * (frame.mean[pixel] - mean);
            }
            memory.next_means[(channel * memory.depth + m) * size + to] = mean;
            if (channel == 0) memory.next_weights[m * size + to] = weight;
        }
    }
}

// Let frames pass that never came, or forget: what is known becomes older. Grid: (height, M).
extern "C" __global__ void age(const Memory memory) {
    const float left = memory.ages[blockIdx.y];
    const size_t begin = (static_cast<size_t>(blockIdx.y) * memory.height + blockIdx.x) * memory.width;
    float *weights = const_cast<float *>(memory.weights) + begin;
    for (int x = threadIdx.x; x < memory.width; x += THREADS) weights[x] = left > 0.0f ? weights[x] * left : 0.0f;
}
