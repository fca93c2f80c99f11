// Where a frame lies, and what follows from it: every decision of the stabilizer and of the origin, by one block.
// The numpy truth: deepbid_rt/stabilizer.py and past.py.
#include "places.cuh"

struct Peak {
    double dy, dx, confidence;
};

// Where between its neighbours the parabola through three samples has its vertex.
__device__ inline double vertex(double before, double peak, double after) {
    const double bend = before - 2 * peak + after;
    return bend < 0 ? fmin(fmax((before - after) / (2 * bend), -0.5), 0.5) : 0.0;
}

// The highest place of the correlation, and how far it stands out of the rest. Called by all THREADS.
__device__ Peak find_peak(const Stabilizer &s) {
    const int rows = 2 * s.far_y + 1, columns = 2 * s.far_x + 1, inner = columns - 2;
    constexpr int nowhere = 1 << 30;
    float highest = -3.402823466e38f;
    int place = nowhere;
    for (int n = threadIdx.x; n < (rows - 2) * inner; n += THREADS) {
        const float value = s.near[(n / inner + 1) * columns + n % inner + 1];
        if (value > highest) {
            highest = value;
            place = n;
        }
    }
    find_largest(highest, place);
    if (place == nowhere) place = 0;  // nothing but NaN
    const int i = place / inner + 1, j = place % inner + 1;
    double sums[2] = {0.0, 0.0};
    for (int n = threadIdx.x; n < rows * columns; n += THREADS) {
        const bool rest = abs(n / columns - i) > 4 || abs(n % columns - j) > 4;
        sums[0] += rest ? s.near[n] : 0.0f;
        sums[1] += rest;
    }
    sum_block(sums);
    const double mean = sums[0] / sums[1];
    double squares[1] = {0.0};
    for (int n = threadIdx.x; n < rows * columns; n += THREADS) {
        const bool rest = abs(n / columns - i) > 4 || abs(n % columns - j) > 4;
        const double off = s.near[n] - mean;
        squares[0] += rest ? off * off : 0.0;
    }
    sum_block(squares);
    const double spread = sqrt(squares[0] / sums[1]);
    const float *peak = s.near + i * columns + j;
    const double dy = i - s.far_y + vertex(peak[-columns], peak[0], peak[columns]);
    const double dx = j - s.far_x + vertex(peak[-1], peak[0], peak[1]);
    return {s.pitch * dy, s.pitch * dx, spread > 0 ? (peak[0] - mean) / spread : 0.0};
}

// Follow what frames usually look like.
__device__ void follow_norm(const Stabilizer &s, State &state, double mean, double grain) {
    state.seen += 1;
    const double gain = fmax(s.norm_gain, 1 / state.seen);
    const double jump = state.seen > 1 ? fabs(mean - state.mean) : 0.0;
    state.deviation += gain * (jump - state.deviation);
    state.mean += gain * (mean - state.mean);
    state.grain += gain * (grain - state.grain);
}

__device__ bool differs(const Stabilizer &s, const State &state, double mean, double grain) {
    if (fabs(mean - state.mean) > fmax(s.jump, s.jumps * state.deviation)) return true;
    const double ratio = grain / state.grain;
    return !(ratio > 1 / s.coarser && ratio < s.coarser);
}

// Give the verdict on a frame, and move the state on.
__device__ Verdict decide(const Stabilizer &s, State &state, const Peak &peak, double mean, double grain,
                          double &confidence) {
    const bool usable = isfinite(mean + grain) && grain != 0;
    const bool stranger = !usable || (state.seen > 0 && differs(s, state, mean, grain));
    confidence = state.known && !stranger ? peak.confidence : 0.0;
    if (!stranger) follow_norm(s, state, mean, grain);
    const bool unsure = state.known && !stranger && !(confidence >= s.confident);
    if (unsure && state.tracked <= s.locked) return HELD;
    const bool misfit = stranger || unsure;
    if (misfit) {
        state.misfits += 1;
        if (state.misfits < s.patience || !usable) return FOREIGN;
        state.seen = state.mean = state.deviation = state.grain = state.misfits = 0;
        follow_norm(s, state, mean, grain);
    }
    if (misfit || !state.known) {
        state.known = state.tracked = 1;
        state.dy = state.dx = confidence = 0;
        return RESTARTED;
    }
    state.tracked += 1;
    state.misfits = 0;
    state.dy = peak.dy;
    state.dx = peak.dx;
    state.gain = fmax(s.reference_gain, 1 / state.tracked);
    return TRACKED;
}

// Move the origin when the tissue has drifted half way out of what is remembered.
__device__ void follow_drift(const Stabilizer &s, State &state) {
    state.drift_y += s.drift_gain * (state.dy - state.drift_y);
    state.drift_x += s.drift_gain * (state.dx - state.drift_x);
    if (!(fmax(fabs(state.drift_y), fabs(state.drift_x)) > s.margin / 2)) return;
    state.step_y = rint(state.drift_y);
    state.step_x = rint(state.drift_x);
    state.drift_y -= state.step_y;
    state.drift_x -= state.step_x;
    state.origin_y += state.step_y;
    state.origin_x += state.step_x;
    state.dy -= state.step_y;
    state.dx -= state.step_x;
}

// The factors that move a spectrum by (dy, dx): of each frequency along y, then along x.
__device__ void write_turns(const Stabilizer &s, float2 *turns, double dy, double dx) {
    const int half = s.width / 2 + 1;
    for (int n = threadIdx.x; n < s.height + half; n += THREADS) {
        const bool down = n < s.height;
        const int number = down ? (2 * n < s.height ? n : n - s.height) : n - s.height;
        const double frequency = static_cast<double>(number) / (down ? s.height : s.width) / s.pitch;
        double sine, cosine;
        sincos(-2 * 3.14159265358979323846 * (down ? dy : dx) * frequency, &sine, &cosine);
        turns[n] = make_float2(cosine, sine);
    }
}

// Judge a frame by its correlation and its sums; tell where it lies. Grid: 1.
extern "C" __global__ void judge(const Frame frame, const Stabilizer s) {
    __shared__ State state;
    double sums[2] = {0.0, 0.0};
    for (int y = threadIdx.x; y < frame.rows; y += THREADS)
        for (int n = 0; n < 2; n++) sums[n] += s.line_sums[2 * y + n];
    sum_block(sums);
    const Peak peak = s.still ? Peak{0.0, 0.0, 0.0} : find_peak(s);
    if (threadIdx.x == 0) {
        state = *s.state;
        const double columns = frame.columns;
        double confidence = 0.0;
        state.step_y = state.step_x = state.gain = 0;
        const double mean = sums[0] / (frame.rows * columns), grain = sums[1] / ((frame.rows - 1) * columns);
        state.verdict = s.still ? HELD : decide(s, state, peak, mean, grain, confidence);
        if (state.verdict == RESTARTED) state.drift_y = state.drift_x = state.origin_y = state.origin_x = 0;
        state.place_y = state.dy;
        state.place_x = state.dx;
        s.note[0] = state.place_y + state.origin_y;
        s.note[1] = state.place_x + state.origin_x;
        s.note[2] = confidence;
        s.note[3] = state.verdict;
        if (state.verdict != FOREIGN) follow_drift(s, state);
        *s.state = state;
    }
    __syncthreads();
    if (!s.still) {
        write_turns(s, s.turns, -state.place_y, -state.place_x);
        write_turns(s, s.turns + s.height + s.width / 2 + 1, state.step_y, state.step_x);
    }
    if (threadIdx.x < STRIPS) {
        s.strips[2 * threadIdx.x] = state.place_y - rint(state.place_y);
        s.strips[2 * threadIdx.x + 1] = state.place_x - rint(state.place_x);
        s.note[4 + threadIdx.x] = s.note[4 + STRIPS + threadIdx.x] = 0;
    }
    for (int y = threadIdx.x; y < frame.rows; y += THREADS)
        s.places[y] = place_of_line(y, state.place_y, state.place_x, s.margin);
}
